/*
 * ping for IPv4 that tells what of each round-trip time was the network, with several probes under way, by select(2):
 *   cc ping.c $(pkg-config --cflags --libs instamp) -o ping && ./ping 192.0.2.1
 * It takes a ping socket, which needs no privilege (net.ipv4.ping_group_range), else a raw one. It ends as ping does: with 0
 * where a reply came, 1 where none did, 2 where something is wrong.
 */
#define _DEFAULT_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <instamp.h>
#include <netinet/ip_icmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/select.h>
#include <time.h>
#include <unistd.h>

#define PAYLOAD INSTAMP_DEFAULT_PAYLOAD_LENGTH
#define INTERVAL_NS 20000000 /* between probes */
#define CHECKSUM 0xbeef      /* of all requests: routers keep them on one path */

/* What is sent, and what is known of it besides. */
struct probe {
    struct icmphdr header;
    unsigned char payload[PAYLOAD];
    uint64_t nonce, sent_ns;
    int is_answered;
};

static int64_t namespace_offset_ns; /* 0 but in a time namespace */
static instamp_run run;
static uint16_t identifier;
static int is_raw;

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "ping: %s: %s\n", what, why);
    exit(2);
}

static void check(const char *what, int32_t error)
{
    if (error != INSTAMP_OK)
        fail(what, instamp_error_text(error));
}

/* The clock that the hooks stamp in. */
static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec - (uint64_t)namespace_offset_ns;
}

static void send_probe(int fd, uint16_t sequence, struct probe *probe)
{
    probe->header.type = ICMP_ECHO;
    probe->header.checksum = htons(CHECKSUM); /* a ping socket writes its own, and the identifier */
    probe->header.un.echo.id = htons(identifier);
    probe->header.un.echo.sequence = htons(sequence);
    if (getrandom(&probe->nonce, sizeof probe->nonce, 0) != sizeof probe->nonce)
        fail("getrandom", strerror(errno));
    check("reserve", instamp_reserve(&run, probe->payload, sizeof probe->payload, sequence, probe->nonce));

    probe->sent_ns = now_ns(); /* right before the call, and after all that takes time */
    if (send(fd, &probe->header, sizeof probe->header + sizeof probe->payload, 0) < 0)
        fprintf(stderr, "ping: send: %s\n", strerror(errno));
}

/* Takes one message; 1 if it is the first reply to one of the probes, which are numbered from 1. */
static int receive_reply(int fd, struct probe *probes, int sent, int *corrected)
{
    unsigned char message[65536], *icmp = message;
    ssize_t length = recv(fd, message, sizeof message, 0);
    uint64_t received_ns = now_ns(); /* right behind the call */
    if (length > 0 && is_raw) {
        size_t ip_header = (message[0] & 15) * 4u;
        icmp += ip_header;
        length -= (ssize_t)ip_header;
    }
    struct icmphdr header;
    if (length < (ssize_t)sizeof header)
        return 0;
    memcpy(&header, icmp, sizeof header);
    int sequence = ntohs(header.un.echo.sequence);
    if (header.type != ICMP_ECHOREPLY || (is_raw && header.un.echo.id != htons(identifier)) || sequence < 1 ||
        sequence > sent || probes[sequence - 1].is_answered)
        return 0;
    struct probe *probe = &probes[sequence - 1];
    probe->is_answered = 1;
    instamp_correction times;
    int32_t error = instamp_strip_correct(icmp + sizeof header, (size_t)length - sizeof header, probe->nonce,
                                          probe->sent_ns, received_ns, &times);
    printf("icmp_seq=%d time=%" PRIu64 "ns", sequence, received_ns - probe->sent_ns);
    if (error == INSTAMP_OK)
        printf(" net=%" PRId64 "ns tx=%" PRId64 "ns rx=%" PRId64 "ns %s/%s\n", times.net_ns, times.tx_stack_ns,
               times.rx_stack_ns, instamp_hook_name(times.request_hook), instamp_hook_name(times.reply_hook));
    else
        printf(" uncorrected: %s\n", instamp_error_text(error));
    *corrected += error == INSTAMP_OK;
    return 1;
}

int main(int argc, char **argv)
{
    struct sockaddr_in target = {.sin_family = AF_INET};
    int count = argc > 2 ? atoi(argv[2]) : 5, seconds = argc > 3 ? atoi(argv[3]) : 1; /* those for the last replies */
    if (argc < 2 || argc > 4 || inet_pton(AF_INET, argv[1], &target.sin_addr) != 1 || count < 1 || count > 65535 ||
        seconds < 0)
        fail("usage", "ping ADDRESS [COUNT [SECONDS]]");
    identifier = (uint16_t)getpid();
    check("time namespace", instamp_time_namespace_offset_ns(&namespace_offset_ns));
    check("run", instamp_run_init(&run, PAYLOAD));
    check("checksum", instamp_run_set_checksum(&run, ICMP_ECHO, 0, identifier, CHECKSUM));
    struct probe *probes = calloc((size_t)count, sizeof *probes);
    int fd = socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
    is_raw = fd < 0;
    if (is_raw)
        fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
    if (probes == NULL || fd < 0 || connect(fd, (struct sockaddr *)&target, sizeof target) < 0)
        fail(argv[1], strerror(errno));

    int sent = 0, received = 0, corrected = 0;
    uint64_t due_ns = now_ns();
    while (received < count) {
        uint64_t at_ns = now_ns();
        if (at_ns >= due_ns) {
            if (sent == count)
                break;
            send_probe(fd, (uint16_t)(sent + 1), &probes[sent]);
            sent++;
            due_ns += sent < count ? INTERVAL_NS : (uint64_t)seconds * 1000000000;
            continue;
        }
        struct timeval wait = {.tv_sec = (time_t)((due_ns - at_ns) / 1000000000),
                               .tv_usec = (suseconds_t)((due_ns - at_ns) / 1000 % 1000000)};
        fd_set readable;
        FD_ZERO(&readable);
        FD_SET(fd, &readable);
        if (select(fd + 1, &readable, NULL, NULL, &wait) > 0)
            received += receive_reply(fd, probes, sent, &corrected);
    }
    printf("%d sent, %d received, %d corrected\n", sent, received, corrected);
    free(probes);
    return received > 0 ? 0 : 1;
}
