%solution%

static char *answers_;
static size_t answers_size_;
static FILE *out_;

#define emit_int(value) fprintf(out_, "i%lld", (long long)(value))
#define emit_float(value) fprintf(out_, "f%.17g", (double)(value))
#define emit_bool(value) fprintf(out_, "b%d", (value) ? 1 : 0)

static void emit_str(const char *value) {
    if (value == NULL) abort();
    fputc('s', out_);
    for (; *value; value++) fprintf(out_, "%02x", (unsigned char)*value);
}

#define LIST_EMITTER(kind, type, inner)            \
    static void emit_##kind(type value) {          \
        fputc('[', out_);                          \
        for (size_t i = 0; i < value.count; i++) { \
            if (i) fputc(',', out_);               \
            emit_##inner(value.items[i]);          \
        }                                          \
        fputc(']', out_);                          \
    }

#define EMITTER_int
#define EMITTER_float
#define EMITTER_str
#define EMITTER_bool
#define EMITTER_list_int LIST_EMITTER(list_int, IntList, int)
#define EMITTER_list_float LIST_EMITTER(list_float, DoubleList, float)
#define EMITTER_list_str LIST_EMITTER(list_str, StringList, str)
#define EMITTER_list_bool LIST_EMITTER(list_bool, BoolList, bool)
#define EMITTER_list_list_int EMITTER_list_int LIST_EMITTER(list_list_int, IntListList, list_int)
#define EMITTER_list_list_float EMITTER_list_float LIST_EMITTER(list_list_float, DoubleListList, list_float)
#define EMITTER_list_list_str EMITTER_list_str LIST_EMITTER(list_list_str, StringListList, list_str)
#define EMITTER_list_list_bool EMITTER_list_bool LIST_EMITTER(list_list_bool, BoolListList, list_bool)

EMITTER_%kind%

int main(void) {
    char nonce[64] = "";
    out_ = open_memstream(&answers_, &answers_size_);
%cases%
    fclose(out_);
    if (fgets(nonce, sizeof nonce, stdin) == NULL) return 3;
    nonce[strcspn(nonce, "\n")] = 0;
    printf("\n%s %s\n", nonce, answers_);
    return fflush(stdout) != 0;
}
