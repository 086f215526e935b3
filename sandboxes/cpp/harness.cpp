%solution%

#include <cstdio>

static std::string answers_;

static void write_(int64_t value) { answers_ += "i" + std::to_string(value); }

static void write_(double value) {
    char text[64];
    std::snprintf(text, sizeof text, "f%.17g", value);
    answers_ += text;
}

static void write_(bool value) { answers_ += value ? "b1" : "b0"; }

static void write_(const std::string &value) {
    static const char digits[] = "0123456789abcdef";
    answers_ += 's';
    for (unsigned char byte : value) {
        answers_ += digits[byte >> 4];
        answers_ += digits[byte & 15];
    }
}

template <typename T>
static void write_(const std::vector<T> &values) {
    answers_ += '[';
    bool first = true;
    for (const T &value : values) {
        if (!first) answers_ += ',';
        first = false;
        write_(value);
    }
    answers_ += ']';
}

template <typename T>
static void answer(const T &value) {
    if (!answers_.empty()) answers_ += ';';
    write_(value);
}

int main() {
    char nonce[64] = "";
%cases%
    if (std::fgets(nonce, sizeof nonce, stdin) == nullptr) return 3;
    std::printf("\n%.32s %s\n", nonce, answers_.c_str());
    return std::fflush(stdout) != 0;
}
