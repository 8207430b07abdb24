
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "tap.h"
#include "lrt_sha256.h"


#define LONG  1000000


static void test_examples(void);
static void test_lengths(void);
static void hex(const void *data, size_t len, char *text);


int
main(void)
{
    tap_begin();

    run(test_examples);
    run(test_lengths);

    return tap_end();
}


static void
test_examples(void)
{
    char         text[2 * LRT_SHA256_LEN + 1];
    static char  many[LONG];

    /* those of the standard */

    hex("", 0, text);
    ok(strcmp(text, "e3b0c44298fc1c149afbf4c8996fb924"
                    "27ae41e4649b934ca495991b7852b855") == 0, "nothing");

    hex("abc", 3, text);
    ok(strcmp(text, "ba7816bf8f01cfea414140de5dae2223"
                    "b00361a396177a9cb410ff61f20015ad") == 0, "one block");

    hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56, text);
    ok(strcmp(text, "248d6a61d20638b8e5c026930c3e6039"
                    "a33ce45964ff2167f6ecedd419db06c1") == 0, "two blocks");

    memset(many, 'a', LONG);
    hex(many, LONG, text);
    ok(strcmp(text, "cdc76e5c9914fb9281a1c7e284d73e67"
                    "f1809a48a497200e046d39ccc7112cd0") == 0, "many blocks");
}


/* the length stands in the last block, or does not fit any more */

static void
test_lengths(void)
{
    char         text[2 * LRT_SHA256_LEN + 1];
    uint32_t     i;

    static const struct {
        size_t       len;
        const char  *hash;
    } cases[] = {
        { 55, "02779466cdec163811d078815c633f21"
            "901413081449002f24aa3e80f0b88ef7" },
        { 56, "d4817aa5497628e7c77e6b606107042b"
            "bba3130888c5f47a375e6179be789fbb" },
        { 63, "c7723fa1e0127975e49e62e753db5392"
            "4c1bd84b8ac1ac08df78d09270f3d971" },
        { 64, "f5a5fd42d16a20302798ef6ed309979b"
            "43003d2320d9f0e8ea9831a92759fb4b" },
        { 65, "98ce42deef51d40269d542f5314bef2c"
            "7468d401ad5d85168bfab4c0108f75f7" },
        { 119, "f616b0d54e78571a9611f343c9f8e022"
             "e859e920381ab0e4d3da01e193a7bd7e" },
        { 120, "6edd9f6f9cc92cded36e6c4a580933f9"
             "c9f1b90562b46903b806f21902a1a54f" }
    };

    static const char  zeros[128];

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        hex(zeros, cases[i].len, text);
        ok(strcmp(text, cases[i].hash) == 0, "%u zeros",
           (unsigned) cases[i].len);
    }
}


static void
hex(const void *data, size_t len, char *text)
{
    uint32_t  i;
    uint8_t   hash[LRT_SHA256_LEN];

    lrt_sha256(data, len, hash);

    for (i = 0; i < LRT_SHA256_LEN; i++) {
        snprintf(text + 2 * i, 3, "%02x", hash[i]);
    }
}
