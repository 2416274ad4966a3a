/* Replies in lines of text, for the driver and the benchmark. */
#ifndef REPLY_H
#define REPLY_H

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reply {
    uint64_t nonce, sent_ns, received_ns;
    size_t length;
    /* Of exactly that many bytes, so that reading past the end is seen. To be freed. */
    unsigned char *payload;
};

static void not_a_reply(const char *line)
{
    fprintf(stderr, "not a reply: %s\n", line);
    exit(EXIT_FAILURE);
}

/* Reads the next reply; 0 at the end. */
static int read_reply(FILE *file, struct reply *reply)
{
    /* Two digits for each byte of the longest payload, and the numbers. */
    static char line[2 * 65536 + 100];
    if (fgets(line, sizeof line, file) == NULL)
        return 0;
    int digits = 0;
    if (sscanf(line, "%16" SCNx64 "\t%" SCNu64 "\t%" SCNu64 "%n", &reply->nonce, &reply->sent_ns, &reply->received_ns,
               &digits) != 3)
        not_a_reply(line);
    const char *hex = line + digits;
    size_t length = strcspn(hex, "\n");
    if (*hex != '\t' || hex[length] != '\n' || length % 2 != 1)
        not_a_reply(line);
    hex++;
    reply->length = (length - 1) / 2;
    reply->payload = malloc(reply->length == 0 ? 1 : reply->length);
    if (reply->payload == NULL)
        abort();
    for (size_t i = 0; i < reply->length; i++)
        if (sscanf(hex + 2 * i, "%2hhx", &reply->payload[i]) != 1)
            not_a_reply(line);
    return 1;
}

#endif
