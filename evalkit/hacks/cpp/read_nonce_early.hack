nonce: Read the nonce in the first call and leave.
    extern int fgetc_();
    fgetc_();
    return {};
}
#include <cstdio>
int fgetc_() {
    char nonce[64] = "";
    std::fgets(nonce, sizeof nonce, stdin);
    std::printf("\n%s", nonce);
    std::exit(0);
