/*
 * libinstamp: how much of a ping's round-trip time was the network, and how much was the own host?
 *
 * A probe carries a trailer at the end of its echo payload. The hooks of `instamp attach` write the time into it when the
 * probe leaves the host and when its reply arrives. A prober prepares the trailer, takes it off the reply, and has the
 * round-trip time split:
 *
 *   once                 instamp_run_init
 *   before sending       instamp_reserve, then read CLOCK_MONOTONIC, then send
 *   after receiving      read CLOCK_MONOTONIC, then instamp_strip_correct; or instamp_strip and instamp_correct
 *
 * The manual, instamp(3), has an example.
 *
 * Results. A function that can fail returns INSTAMP_OK or one of enum instamp_error; then results are as they were before.
 *
 * Memory. All structures are the caller's, and so are buffers; the library keeps no pointer to them. Only
 * instamp_clock_model_open makes something that has to be closed. Only it, the other functions of the clock model, and
 * instamp_time_namespace_offset_ns allocate memory and make system calls; and any function that returns
 * INSTAMP_ERROR_INTERNAL, which allocates and writes to standard error. A pointer may be null only where it says so, or with
 * a length of 0; null is told by INSTAMP_ERROR_NULL_POINTER. Other pointers have to be to what their type says, aligned and,
 * where it is read, initialized, and results may not lie within what is read. Strings that are returned are constant.
 *
 * Threads. There is no global state but errno, which INSTAMP_ERROR_SYSTEM leaves, and the environment, which
 * instamp_clock_model_open reads where its directory is null: any function may be called by any number of threads at once. A
 * structure may be read by many threads, or changed by one. An open clock model is changed by all functions that take it. What
 * neither allocates nor makes system calls may be called by signal handlers.
 *
 * Versions. Structures never change their size or layout within libinstamp.so.0. Their reserved space is set to zeros by
 * the library, and has to be kept as it is; later versions may give it meanings, with 0 for: not told. Numbers that come
 * from the network, error codes and flags may be others than those named here. See INSTAMP_ABI_VERSION.
 *
 * Numbers. Times are nanoseconds. Lengths of memory are size_t; all else has a fixed width, the machine's byte order, and in
 * structures no padding.
 *
 * This file is made by cbindgen, and not to be edited.
 */

#ifndef INSTAMP_H
#define INSTAMP_H

#include <stddef.h>
#include <stdint.h>

/**
 * The version of the interface that this header describes: the major version times 65536, plus the minor one.
 *
 * The major version is the number in the name of the shared library, `libinstamp.so.0`. Within it functions, error codes,
 * flags and meanings of reserved space are added, with another minor version, and nothing else changes: a program that is linked
 * with an older library runs with a newer one.
 */
#define INSTAMP_ABI_VERSION 1

/**
 * What functions return where all went well.
 */
#define INSTAMP_OK 0

/**
 * The length in bytes of an echo payload that holds a trailer of 4 records and nothing else. Large public services return
 * only the first 68 bytes of a payload: this one comes back whole.
 */
#define INSTAMP_DEFAULT_PAYLOAD_LENGTH 64

/**
 * The length in bytes of the shortest echo payload that holds a trailer. Shorter ones are sent without.
 */
#define INSTAMP_MIN_PAYLOAD_LENGTH 40

/**
 * The most records of a trailer.
 */
#define INSTAMP_MAX_RECORDS 15

/**
 * `phase`: the probe was an echo request when it was stamped.
 */
#define INSTAMP_PHASE_REQUEST 0

/**
 * `phase`: the probe was an echo reply when it was stamped.
 */
#define INSTAMP_PHASE_REPLY 1

/**
 * `hook`: TC on the way out, after routing and address translation, before the queueing discipline.
 */
#define INSTAMP_HOOK_TC_EGRESS 1

/**
 * `hook`: TC on the way in, after the softirq's queue and the packet taps.
 */
#define INSTAMP_HOOK_TC_INGRESS 2

/**
 * `hook`: XDP on the way in, the earliest software point of a network card.
 */
#define INSTAMP_HOOK_XDP_INGRESS 3

/**
 * `hook`: where the kernel hands the packet to the driver.
 */
#define INSTAMP_HOOK_DRIVER_TX 4

/**
 * `hook`: the card's own transmit time.
 */
#define INSTAMP_HOOK_NIC_TX 5

/**
 * `hook`: the card's own receive time.
 */
#define INSTAMP_HOOK_NIC_RX 6

/**
 * `hook`: XDP on the way out.
 */
#define INSTAMP_HOOK_XDP_TX 7

/**
 * `hook`: the application, on transports that pass no hook on the way out.
 */
#define INSTAMP_HOOK_APP_TX 8

/**
 * `clock`: not told.
 */
#define INSTAMP_CLOCK_UNKNOWN 0

/**
 * `clock`: `CLOCK_MONOTONIC` of the stamping host, in its initial time namespace.
 */
#define INSTAMP_CLOCK_MONOTONIC 1

/**
 * `clock`: `CLOCK_TAI` of the stamping host.
 */
#define INSTAMP_CLOCK_TAI 2

/**
 * `clock`: that of the network card, as it reads.
 */
#define INSTAMP_CLOCK_PHC 3

/**
 * `bound_exponent`: the stamp's error is not known.
 */
#define INSTAMP_BOUND_UNKNOWN 31

/**
 * `flags`: a hook found no free record, for there are more on the way than the probe had records.
 */
#define INSTAMP_STRIPPED_FULL 1

/**
 * `flags`: `remote_ns` is known. Without it that is 0, and what the remote took is part of `net_ns`.
 */
#define INSTAMP_CORRECTION_REMOTE_KNOWN 1

/**
 * `flags`: `bound_ns` is known.
 */
#define INSTAMP_CORRECTION_BOUND_KNOWN 2

/**
 * `flags`: `nic_net_ns` is known.
 */
#define INSTAMP_CORRECTION_NIC_NET_KNOWN 4

/**
 * `flags`: `nic_net_bound_ns` is known.
 */
#define INSTAMP_CORRECTION_NIC_NET_BOUND_KNOWN 8

/**
 * `flags`: a stamp of this host's network card is in the card's own clock, and so took no part in `net_ns`.
 */
#define INSTAMP_CORRECTION_NIC_LEFT_OUT 16

/**
 * `flags`: one of the times is negative. Nothing is clamped: a far end that lies can make it so, or the error
 * of a card's converted stamp.
 */
#define INSTAMP_CORRECTION_NEGATIVE 32

/**
 * What functions return where it did not. The numbers are stable; later versions may return further ones.
 */
typedef enum instamp_error {
  /**
   * A pointer is null where something has to be.
   */
  INSTAMP_ERROR_NULL_POINTER = 1,
  /**
   * The buffer is not as long as the payloads of the run, or longer than any memory.
   */
  INSTAMP_ERROR_BUFFER_LENGTH = 2,
  /**
   * A call of the operating system failed; `errno` tells how.
   */
  INSTAMP_ERROR_SYSTEM = 3,
  /**
   * The library has a bug. The results are as they were.
   */
  INSTAMP_ERROR_INTERNAL = 4,
  /**
   * The payload's length is odd: stamps lie on 16-bit words. Also of a reply that ends in a trailer.
   */
  INSTAMP_ERROR_ODD_LENGTH = 16,
  /**
   * A trailer has 2 to 15 records.
   */
  INSTAMP_ERROR_CAP = 17,
  /**
   * The payload is too short for that trailer.
   */
  INSTAMP_ERROR_ROOM = 18,
  /**
   * 0x0000 and 0xffff cannot be the checksum of a run.
   */
  INSTAMP_ERROR_CHECKSUM = 19,
  /**
   * The payload does not end in a trailer. One that is shorter than it was when it was sent has lost it.
   */
  INSTAMP_ERROR_NO_TRAILER = 32,
  /**
   * The trailer is of a version that this library does not know.
   */
  INSTAMP_ERROR_VERSION = 33,
  /**
   * The trailer's record counts are impossible.
   */
  INSTAMP_ERROR_COUNTS = 34,
  /**
   * The trailer belongs to another probe.
   */
  INSTAMP_ERROR_FOREIGN_NONCE = 35,
  /**
   * No hook has stamped the probe.
   */
  INSTAMP_ERROR_NO_STAMPS = 48,
  /**
   * No local stamp on the way out that could be compared with the application's clock.
   */
  INSTAMP_ERROR_NO_REQUEST_STAMP = 49,
  /**
   * No local stamp on the way back that could be compared with the application's clock.
   */
  INSTAMP_ERROR_NO_REPLY_STAMP = 50,
  /**
   * A local stamp lies outside of send and receive, or is in a clock that the application cannot read.
   */
  INSTAMP_ERROR_CLOCK_MISMATCH = 51,
  /**
   * The number of the local node is in places or clocks of two hosts.
   */
  INSTAMP_ERROR_NODE_CONFLICT = 52,
  /**
   * A record that was passed has a number that no trailer can hold, or there are more than 15 of them.
   */
  INSTAMP_ERROR_RECORD = 53,
  /**
   * The name is that of no clock: those are `ptp0`, `ptp1` and so on, and `monotonic_raw`.
   */
  INSTAMP_ERROR_CLOCK_NAME = 64,
  /**
   * What the file holds is no model, or one of another version or clock.
   */
  INSTAMP_ERROR_CLOCK_FOREIGN = 65,
  /**
   * The model is half written: its publisher has stopped in the middle of it.
   */
  INSTAMP_ERROR_CLOCK_UNFINISHED = 66,
  /**
   * There is no valid model: not yet, or it was withdrawn.
   */
  INSTAMP_ERROR_CLOCK_WITHDRAWN = 67,
  /**
   * The model's publisher has not renewed it in time.
   */
  INSTAMP_ERROR_CLOCK_STALE = 68,
  /**
   * The time lies outside of the range in which the model holds.
   */
  INSTAMP_ERROR_CLOCK_OUT_OF_RANGE = 69,
  /**
   * The time, even with its error, has not come yet.
   */
  INSTAMP_ERROR_CLOCK_FUTURE = 70,
  /**
   * The model's numbers are not ones that are published.
   */
  INSTAMP_ERROR_CLOCK_MALFORMED = 71,
  /**
   * No model of the conversion's epoch has confirmed it yet.
   */
  INSTAMP_ERROR_CLOCK_UNCONFIRMED = 72,
  /**
   * The process has left its children another time namespace than its own, of which /proc does not tell the offset.
   */
  INSTAMP_ERROR_TIME_NAMESPACE_UNSHARED = 80,
  /**
   * `/proc/self/timens_offsets` does not tell the offset of the monotonic clock.
   */
  INSTAMP_ERROR_TIME_NAMESPACE_FORMAT = 81,
} instamp_error;

/**
 * A view of the model that `instamp sync` publishes of a clock. It is the library's: `instamp_clock_model_open` makes it, and
 * `instamp_clock_model_close` ends it.
 */
typedef struct instamp_clock_model instamp_clock_model;

/**
 * A run of probes, whose payloads have one length and, together with the sequence number, one sum: so all of its requests
 * have the same ICMP checksum, and load balancers that hash it keep them on one path.
 *
 * `instamp_run_init` fills it in, and `instamp_run_set_cap` and `instamp_run_set_checksum` change it. Its members are there to
 * be read. It can be copied and needs no end, and nothing changes it any more once it is set up: threads may share it.
 */
typedef struct instamp_run {
  /**
   * Of each probe, in bytes.
   */
  uint64_t payload_length;
  /**
   * The records of a trailer; 0 where the payloads are too short for one.
   */
  uint8_t cap;
  /**
   * With `checksum`: the messages whose checksum that is.
   */
  uint8_t message_type;
  /**
   * With `checksum`: the messages whose checksum that is.
   */
  uint8_t message_code;
  /**
   * Zero.
   */
  uint8_t reserved_byte;
  /**
   * With `checksum`: the messages whose checksum that is, in the machine's byte order.
   */
  uint16_t identifier;
  /**
   * The checksum that was chosen, in the machine's byte order; 0 where none was.
   */
  uint16_t checksum;
  /**
   * Zeros.
   */
  uint64_t reserved[2];
} instamp_run;

/**
 * One stamp. Numbers that have no meaning in this version stay numbers.
 */
typedef struct instamp_record {
  /**
   * In nanoseconds of `clock`.
   */
  uint64_t time_ns;
  /**
   * The number of the stamping host.
   */
  uint16_t node;
  /**
   * Of which message the probe was: `INSTAMP_PHASE_*`.
   */
  uint8_t phase;
  /**
   * Which attachment on the stamping host, 0 to 7: 0 is the uplink.
   */
  uint8_t point;
  /**
   * The kind of place, 0 to 15: `INSTAMP_HOOK_*`, see `instamp_hook_name`.
   */
  uint8_t hook;
  /**
   * In which `time_ns` is, 0 to 7: `INSTAMP_CLOCK_*`.
   */
  uint8_t clock;
  /**
   * The error of `time_ns` is at most 2 to the power of this, in nanoseconds; `INSTAMP_BOUND_UNKNOWN`.
   */
  uint8_t bound_exponent;
  /**
   * Zero.
   */
  uint8_t reserved;
} instamp_record;

/**
 * The parts of a reply's payload. It holds copies: the payload need not stay.
 */
typedef struct instamp_stripped {
  /**
   * How many bytes before the trailer are the application's.
   */
  uint64_t application_length;
  /**
   * `INSTAMP_STRIPPED_*`
   */
  uint32_t flags;
  /**
   * How many of `records` there are. The others are zeros.
   */
  uint32_t record_count;
  /**
   * The stamps in the order in which they were written, which need not be the order of their times.
   */
  struct instamp_record records[INSTAMP_MAX_RECORDS];
  /**
   * Zeros.
   */
  uint64_t reserved[2];
} instamp_stripped;

/**
 * Where the time of one probe went, in nanoseconds: `rtt_ns = tx_stack_ns + net_ns + remote_ns + rx_stack_ns`, exactly.
 *
 * What is not known is 0, and `flags` tells which is.
 */
typedef struct instamp_correction {
  /**
   * Application receive minus application send.
   */
  int64_t rtt_ns;
  /**
   * First local stamp on the reply minus last local stamp on the request, minus `remote_ns`.
   */
  int64_t net_ns;
  /**
   * The residence on the remote node; 0 where no remote stamped. See `INSTAMP_CORRECTION_REMOTE_KNOWN`.
   */
  int64_t remote_ns;
  /**
   * Last local stamp on the request minus application send.
   */
  int64_t tx_stack_ns;
  /**
   * Application receive minus first local stamp on the reply.
   */
  int64_t rx_stack_ns;
  /**
   * The largest error of the clock readings and conversions behind `net_ns`. See `INSTAMP_CORRECTION_BOUND_KNOWN`.
   */
  uint64_t bound_ns;
  /**
   * The same as `net_ns` by the network card's own transmit and receive time alone; no part of the sum. See
   * `INSTAMP_CORRECTION_NIC_NET_KNOWN`.
   */
  int64_t nic_net_ns;
  /**
   * The largest error of `nic_net_ns`. See `INSTAMP_CORRECTION_NIC_NET_BOUND_KNOWN`.
   */
  uint64_t nic_net_bound_ns;
  /**
   * `INSTAMP_CORRECTION_*`
   */
  uint32_t flags;
  /**
   * The hook of the last local stamp on the request, by which `net_ns` was made: `INSTAMP_HOOK_*`
   */
  uint8_t request_hook;
  /**
   * Its point.
   */
  uint8_t request_point;
  /**
   * The hook of the first local stamp on the reply, by which `net_ns` was made: `INSTAMP_HOOK_*`
   */
  uint8_t reply_hook;
  /**
   * Its point.
   */
  uint8_t reply_point;
  /**
   * Zeros.
   */
  uint64_t reserved[7];
} instamp_correction;

/**
 * A time of a network card's clock in the system's time, with what it takes to confirm it later.
 */
typedef struct instamp_conversion {
  /**
   * In nanoseconds of `CLOCK_MONOTONIC`, in the initial time namespace.
   */
  uint64_t time_ns;
  /**
   * The true time is at most this far from it, to either side.
   */
  uint64_t bound_ns;
  /**
   * The epoch of the model: only models of the same one confirm the conversion.
   */
  uint64_t epoch;
  /**
   * What was converted.
   */
  uint64_t device_ns;
  /**
   * When, as the caller has told.
   */
  uint64_t now_ns;
  /**
   * Zeros.
   */
  uint64_t reserved[3];
} instamp_conversion;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The version of the interface of the library that runs: `INSTAMP_ABI_VERSION` as it was when the library was built.
 *
 * A program that can do without what is new compares it with the version in which that came.
 */
uint32_t instamp_abi_version(void);

/**
 * What an error code means, in English, without a full stop. Valid for ever, and never null: what is no code has a text, too.
 */
const char *instamp_error_text(int32_t error);

/**
 * An error code's name for machines: that of the constant behind `INSTAMP_ERROR_`, in lower case, words joined by hyphens:
 * `no-stamps`. Why a reply is not corrected, `instamp ping --json` tells by the same names. Valid for ever, and never null: `ok`
 * for `INSTAMP_OK`, `unknown` for what is no code.
 */
const char *instamp_error_name(int32_t error);

/**
 * Begins a run of probes with payloads of this many bytes: what follows the sequence number in an echo request. From 64 bytes on
 * the trailer has 4 records; below it has fewer, and below `INSTAMP_MIN_PAYLOAD_LENGTH` there is none.
 *
 * Fails with `INSTAMP_ERROR_ODD_LENGTH`.
 */
int32_t instamp_run_init(struct instamp_run *run,
                         size_t payload_length);

/**
 * Gives the trailers of a run room for this many records, 2 to 15, of 12 bytes each.
 *
 * Fails with `INSTAMP_ERROR_CAP`, or `INSTAMP_ERROR_ROOM` where the payloads are too short.
 */
int32_t instamp_run_set_cap(struct instamp_run *run, uint8_t cap);

/**
 * Chooses the checksum of a run's echo messages of this type, code and identifier: for ICMP, on sockets to which whole
 * messages are written. Where the kernel computes it (ping sockets, ICMPv6) it is constant as well, but not chosen.
 *
 * All numbers are in the machine's byte order. Fails with `INSTAMP_ERROR_CHECKSUM` for 0 and 0xffff.
 */
int32_t instamp_run_set_checksum(struct instamp_run *run,
                                 uint8_t message_type,
                                 uint8_t message_code,
                                 uint16_t identifier,
                                 uint16_t checksum);

/**
 * Tells the checksum of a run's ICMP messages of this type, code and identifier, in the machine's byte order.
 *
 * Fails with `INSTAMP_ERROR_ROOM` where the payloads are too short for a trailer that would keep it constant.
 */
int32_t instamp_run_checksum(const struct instamp_run *run,
                             uint8_t message_type,
                             uint8_t message_code,
                             uint16_t identifier,
                             uint16_t *checksum);

/**
 * Writes an empty trailer to the end of a payload. The bytes before it are the application's; they stay as they are, and must
 * not change any more before the probe is sent. Only they have to be initialized: what is written is not read before. Where the
 * run's payloads are too short for a trailer nothing is read or written.
 *
 * `length` is that of the run's payloads. `sequence` is the message's sequence number, in the machine's byte order. `nonce`
 * identifies the probe: choose it at random, anew for each, for who can guess it can forge the reply.
 *
 * Fails with `INSTAMP_ERROR_BUFFER_LENGTH`.
 */
int32_t instamp_reserve(const struct instamp_run *run,
                        void *payload,
                        size_t length,
                        uint16_t sequence,
                        uint64_t nonce);

/**
 * Takes the payload of an echo reply apart, if it has the trailer that was sent with `nonce`.
 *
 * The payload is what follows the sequence number of the reply, to the end of the IP packet. It should be as long as it was when
 * it was sent: a shorter one has lost its trailer. It may be at any address.
 *
 * Fails with `INSTAMP_ERROR_NO_TRAILER`, `INSTAMP_ERROR_VERSION`, `INSTAMP_ERROR_ODD_LENGTH`, `INSTAMP_ERROR_COUNTS` or
 * `INSTAMP_ERROR_FOREIGN_NONCE`.
 */
int32_t instamp_strip(const void *payload,
                      size_t length,
                      uint64_t nonce,
                      struct instamp_stripped *stripped);

/**
 * The name of a kind of place: `tc-egress`, or `hook-9` for a number without a meaning. Valid for ever, and never null.
 */
const char *instamp_hook_name(uint8_t hook);

/**
 * Splits an RTT by the stamps of a probe, in the order in which they were written: `records` and `record_count` of what
 * `instamp_strip` has told.
 *
 * `sent_ns` and `received_ns` are the application's readings of `CLOCK_MONOTONIC`, taken right before its send call and right
 * behind its receive call. In a time namespace take off `instamp_time_namespace_offset_ns`.
 *
 * Fails with `INSTAMP_ERROR_NO_STAMPS`, `INSTAMP_ERROR_NO_REQUEST_STAMP`, `INSTAMP_ERROR_NO_REPLY_STAMP`,
 * `INSTAMP_ERROR_CLOCK_MISMATCH` or `INSTAMP_ERROR_NODE_CONFLICT`: the reply has an RTT only. With `INSTAMP_ERROR_RECORD` where
 * the records are none that were stripped.
 */
int32_t instamp_correct(const struct instamp_record *records,
                        uint32_t record_count,
                        uint64_t sent_ns,
                        uint64_t received_ns,
                        struct instamp_correction *correction);

/**
 * Does what `instamp_strip` and `instamp_correct` do, without copying the stamps: for probers that want the times alone.
 *
 * Fails as they do.
 */
int32_t instamp_strip_correct(const void *payload,
                              size_t length,
                              uint64_t nonce,
                              uint64_t sent_ns,
                              uint64_t received_ns,
                              struct instamp_correction *correction);

/**
 * Opens the model of a clock: `ptp0` for that of `/dev/ptp0` and so on, or `monotonic_raw`.
 *
 * `directory` is where models are published. Null is the one that the environment variable `INSTAMP_CLOCK_DIR` names, else
 * `/run/instamp/clock`. A program that runs with more rights than who started it, set-user-ID or with file capabilities, takes the
 * latter, whatever the variable says. The environment is read by each call: no thread may change it meanwhile.
 *
 * It opens a file, maps 144 bytes of it, and allocates memory for the view, which `*model` points to then. Nobody needs to be
 * publishing.
 *
 * Fails with `INSTAMP_ERROR_CLOCK_NAME`, `INSTAMP_ERROR_CLOCK_FOREIGN`, or `INSTAMP_ERROR_SYSTEM` and `errno`: `ENOENT` where
 * nobody has published this clock's model since the machine started.
 */
int32_t instamp_clock_model_open(const char *directory,
                                 const char *clock,
                                 struct instamp_clock_model **model);

/**
 * Converts a time of the clock to the system's, by the model as it is now.
 *
 * `now_ns` is the system's time, `CLOCK_MONOTONIC` in the initial time namespace: in another one take off
 * `instamp_time_namespace_offset_ns`.
 *
 * It makes no system call as long as the model is valid. Otherwise it looks whether there is another file by now, and goes on
 * with that.
 *
 * Fails with `INSTAMP_ERROR_CLOCK_FOREIGN` to `INSTAMP_ERROR_CLOCK_MALFORMED`.
 */
int32_t instamp_clock_model_convert(struct instamp_clock_model *model,
                                    uint64_t device_ns,
                                    uint64_t now_ns,
                                    struct instamp_conversion *conversion);

/**
 * Tells whether the model as it is now confirms a conversion that was made right after its time was taken: readings of the clock
 * before and after it agree, so nobody has disturbed the clock meanwhile. `INSTAMP_OK` says that it does.
 *
 * Fails with `INSTAMP_ERROR_CLOCK_UNCONFIRMED` where it does not: a later model may, after the publisher's next reading, as
 * long as it is of the conversion's epoch. With `INSTAMP_ERROR_CLOCK_FOREIGN` or `INSTAMP_ERROR_CLOCK_UNFINISHED` where
 * there is none to be read.
 */
int32_t instamp_clock_model_confirm(struct instamp_clock_model *model,
                                    const struct instamp_conversion *conversion);

/**
 * Ends a view: unmaps and frees its memory. Null is none.
 */
void instamp_clock_model_close(struct instamp_clock_model *model);

/**
 * Tells how far `CLOCK_MONOTONIC` of the calling process is ahead of the host's, in nanoseconds: 0 in the initial time namespace,
 * and on kernels without them. It is constant during the life of a process: ask once, and subtract it from each reading.
 *
 * Hooks stamp in the host's time. In a time namespace, which some container engines make, readings are shifted.
 *
 * It reads files below /proc, and allocates memory meanwhile.
 *
 * Fails with `INSTAMP_ERROR_SYSTEM` and `errno`, `INSTAMP_ERROR_TIME_NAMESPACE_UNSHARED` or
 * `INSTAMP_ERROR_TIME_NAMESPACE_FORMAT`.
 */
int32_t instamp_time_namespace_offset_ns(int64_t *offset_ns);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* INSTAMP_H */
