module main;

import core.stdc.stdio : fflush, fgets, printf, snprintf, stdin, stdout;
static import solution;

string emit(T)(T value) {
    char[64] text;
    static if (is(T == long)) {
        return text[0 .. snprintf(text.ptr, text.length, "i%lld", value)].idup;
    } else static if (is(T == double)) {
        return text[0 .. snprintf(text.ptr, text.length, "f%.17g", value)].idup;
    } else static if (is(T == bool)) {
        return value ? "b1" : "b0";
    } else static if (is(T == string)) {
        immutable digits = "0123456789abcdef";
        string made = "s";
        foreach (ubyte part; cast(immutable(ubyte)[]) value) {
            made ~= digits[part >> 4];
            made ~= digits[part & 15];
        }
        return made;
    } else {
        string made = "[";
        foreach (at, item; value) {
            if (at > 0) made ~= ",";
            made ~= emit(item);
        }
        return made ~ "]";
    }
}

int main() {
    string[] answers;
%cases%
    char[64] nonce;
    if (fgets(nonce.ptr, nonce.length, stdin) is null) return 3;
    string all;
    foreach (at, answer; answers) all ~= (at > 0 ? ";" : "") ~ answer;
    printf("\n%.32s %.*s\n", nonce.ptr, cast(int) all.length, all.ptr);
    return fflush(stdout) != 0;
}
