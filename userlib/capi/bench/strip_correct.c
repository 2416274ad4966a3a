/*
 * What instamp_strip_correct takes for one reply of those in the file that is named, whose lines are those of tests/driver.c: the least
 * and the median of many rounds over all of them, in nanoseconds, as one line of JSON.
 */
#define _POSIX_C_SOURCE 200809L
#include <instamp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../tests/reply.h"

#define ROUNDS 301

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static int by_value(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

int main(int argc, char **argv)
{
    FILE *file = argc == 2 ? fopen(argv[1], "r") : NULL;
    if (file == NULL) {
        fprintf(stderr, "usage: strip_correct REPLIES\n");
        return 2;
    }
    size_t count = 0, room = 1024;
    struct reply *replies = malloc(room * sizeof *replies);
    while (replies != NULL && read_reply(file, &replies[count]))
        if (++count == room)
            replies = realloc(replies, (room *= 2) * sizeof *replies);
    fclose(file);
    if (replies == NULL || count == 0) {
        fprintf(stderr, "strip_correct: no replies in %s\n", argv[1]);
        return 2;
    }

    double rounds[ROUNDS];
    size_t corrected = 0;
    for (int round = 0; round < ROUNDS; round++) {
        corrected = 0;
        uint64_t began_ns = now_ns();
        for (size_t i = 0; i < count; i++) {
            const struct reply *reply = &replies[i];
            instamp_correction correction;
            corrected += instamp_strip_correct(reply->payload, reply->length, reply->nonce, reply->sent_ns,
                                               reply->received_ns, &correction) == INSTAMP_OK;
        }
        rounds[round] = (double)(now_ns() - began_ns) / (double)count;
    }
    qsort(rounds, ROUNDS, sizeof *rounds, by_value);
    printf("{\"language\":\"c\",\"strip_correct_ns\":%.1f,\"min_ns\":%.1f,\"replies\":%zu,\"corrected\":%zu}\n",
           rounds[ROUNDS / 2], rounds[0], count, corrected);

    for (size_t i = 0; i < count; i++)
        free(replies[i].payload);
    free(replies);
    return 0;
}
