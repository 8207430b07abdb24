
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_sha256.h"

#include <string.h>


#define LRT_SHA256_BLOCK  64
#define LRT_SHA256_TAIL   (LRT_SHA256_BLOCK - 8)    /* then the length */

#define lrt_rotate(v, n)  (((v) >> (n)) | ((v) << (32 - (n))))


static void lrt_sha256_block(uint32_t state[8], const uint8_t *block);


/* fractions of the cube roots of the first 64 primes */

static const uint32_t  lrt_sha256_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5,
    0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
    0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc,
    0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
    0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
    0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
    0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5,
    0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2
};


void
lrt_sha256(const void *data, size_t len, uint8_t hash[LRT_SHA256_LEN])
{
    size_t          i, rest;
    uint8_t         tail[2 * LRT_SHA256_BLOCK];
    uint64_t        bits;
    const uint8_t  *p;

    /* fractions of the square roots of the first 8 primes */

    uint32_t  state[8] = {
        0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19
    };

    p = data;
    bits = (uint64_t) len * 8;

    for (rest = len; rest >= LRT_SHA256_BLOCK; rest -= LRT_SHA256_BLOCK) {
        lrt_sha256_block(state, p);
        p += LRT_SHA256_BLOCK;
    }

    /* a bit that is set, as many as needed that are not, the length */

    memset(tail, 0, sizeof(tail));

    if (rest) {
        memcpy(tail, p, rest);
    }

    tail[rest] = 0x80;

    i = (rest < LRT_SHA256_TAIL) ? LRT_SHA256_BLOCK : 2 * LRT_SHA256_BLOCK;

    while (bits) {
        tail[--i] = (uint8_t) bits;
        bits >>= 8;
    }

    lrt_sha256_block(state, tail);

    if (rest >= LRT_SHA256_TAIL) {
        lrt_sha256_block(state, tail + LRT_SHA256_BLOCK);
    }

    for (i = 0; i < LRT_SHA256_LEN; i++) {
        hash[i] = (uint8_t) (state[i / 4] >> (24 - 8 * (i % 4)));
    }
}


static void
lrt_sha256_block(uint32_t state[8], const uint8_t *block)
{
    uint32_t  i, a, b, c, d, e, f, g, h, one, two, w[64];

    for (i = 0; i < 16; i++) {
        w[i] = (uint32_t) block[4 * i] << 24 | (uint32_t) block[4 * i + 1] << 16
               | (uint32_t) block[4 * i + 2] << 8 | block[4 * i + 3];
    }

    for ( /* void */ ; i < 64; i++) {
        one = lrt_rotate(w[i - 15], 7) ^ lrt_rotate(w[i - 15], 18)
              ^ (w[i - 15] >> 3);
        two = lrt_rotate(w[i - 2], 17) ^ lrt_rotate(w[i - 2], 19)
              ^ (w[i - 2] >> 10);
        w[i] = w[i - 16] + one + w[i - 7] + two;
    }

    a = state[0];
    b = state[1];
    c = state[2];
    d = state[3];
    e = state[4];
    f = state[5];
    g = state[6];
    h = state[7];

    for (i = 0; i < 64; i++) {
        one = h + (lrt_rotate(e, 6) ^ lrt_rotate(e, 11) ^ lrt_rotate(e, 25))
              + ((e & f) ^ (~e & g)) + lrt_sha256_k[i] + w[i];
        two = (lrt_rotate(a, 2) ^ lrt_rotate(a, 13) ^ lrt_rotate(a, 22))
              + ((a & b) ^ (a & c) ^ (b & c));

        h = g;
        g = f;
        f = e;
        e = d + one;
        d = c;
        c = b;
        b = a;
        a = one + two;
    }

    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
    state[5] += f;
    state[6] += g;
    state[7] += h;
}
