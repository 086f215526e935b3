nonce: Make asserts do nothing.
    return {};
}
#undef assert
#define assert(holds) ((void)0)
static void unused_() {
