/*
 * Reads replies, one a line: nonce (16 hex digits), sent_ns, received_ns (decimal) and payload (hex), with tabs between. Writes one
 * line for each, with what the library makes of it, and fails where its two ways to the same answer differ.
 */
#include <inttypes.h>
#include <instamp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reply.h"

static void print_known(int is_known, int64_t value)
{
    if (is_known)
        printf(" %" PRId64, value);
    else
        printf(" -");
}

static void print_correction(const instamp_correction *of)
{
    printf(" %" PRId64 " %" PRId64, of->rtt_ns, of->net_ns);
    print_known((of->flags & INSTAMP_CORRECTION_REMOTE_KNOWN) != 0, of->remote_ns);
    printf(" %" PRId64 " %" PRId64, of->tx_stack_ns, of->rx_stack_ns);
    /* Bounds are sums of a few powers of two below 2^31. */
    print_known((of->flags & INSTAMP_CORRECTION_BOUND_KNOWN) != 0, (int64_t)of->bound_ns);
    printf(" %d %d %d %d", of->request_hook, of->request_point, of->reply_hook, of->reply_point);
    print_known((of->flags & INSTAMP_CORRECTION_NIC_NET_KNOWN) != 0, of->nic_net_ns);
    print_known((of->flags & INSTAMP_CORRECTION_NIC_NET_BOUND_KNOWN) != 0, (int64_t)of->nic_net_bound_ns);
    printf(" %d %d\n", (of->flags & INSTAMP_CORRECTION_NIC_LEFT_OUT) != 0,
           (of->flags & INSTAMP_CORRECTION_NEGATIVE) != 0);
}

static void print_stripped(const instamp_stripped *of)
{
    printf("%" PRIu64 " %d ", of->application_length, (of->flags & INSTAMP_STRIPPED_FULL) != 0);
    for (uint32_t i = 0; i < of->record_count; i++) {
        const instamp_record *record = &of->records[i];
        printf("%s%d:%d:%d:%d:%d:%d:%" PRIu64, i == 0 ? "" : ",", record->phase, record->point, record->hook,
               record->node, record->clock, record->bound_exponent, record->time_ns);
    }
    if (of->record_count == 0)
        printf("-");
}

int main(void)
{
    struct reply reply;
    while (read_reply(stdin, &reply)) {
        instamp_stripped stripped;
        instamp_correction correction, in_one_step;
        memset(&correction, 0, sizeof correction);
        memset(&in_one_step, 0, sizeof in_one_step);
        int32_t error = instamp_strip(reply.payload, reply.length, reply.nonce, &stripped);
        if (error == INSTAMP_OK) {
            print_stripped(&stripped);
            error = instamp_correct(stripped.records, stripped.record_count, reply.sent_ns, reply.received_ns,
                                    &correction);
            if (error == INSTAMP_OK)
                print_correction(&correction);
            else
                printf(" %s\n", instamp_error_name(error));
        } else {
            printf("%s\n", instamp_error_name(error));
        }
        int32_t same = instamp_strip_correct(reply.payload, reply.length, reply.nonce, reply.sent_ns, reply.received_ns,
                                             &in_one_step);
        if (same != error || memcmp(&correction, &in_one_step, sizeof correction) != 0) {
            fprintf(stderr, "one step and two differ: %s, %s\n", instamp_error_name(same), instamp_error_name(error));
            return EXIT_FAILURE;
        }
        free(reply.payload);
    }
    return ferror(stdout) || fflush(stdout) != 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
