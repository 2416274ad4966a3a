//! The TC programs get no prologue from the verifier: one would copy every cloned packet, probes or not, and drop it
//! where memory is short.

use std::process::Command;

use instamp_tests::{
    privilege,
    programs::{Loaded, objects},
};
use instamp_trailer::Hook;

/// What the prologue calls (`bpf_unclone_prologue` in the kernel's net/core/filter.c).
const PROLOGUE_CALL: &str = "bpf_skb_pull_data";

/// The program as the kernel runs it, behind the verifier's changes.
fn translated(program: &Loaded) -> String {
    let output = Command::new("bpftool")
        .args(["prog", "dump", "xlated", "id", &program.id().to_string()])
        .output()
        .expect("start bpftool");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn tc_programs_have_no_prologue() {
    let Some(()) = privilege::root() else { return };
    let Some(()) = privilege::tool("bpftool") else { return };
    for (origin, objects) in objects() {
        for name in ["tc_egress", "tc_ingress", "tc_ingress_handed", "tc_ingress_nic_rx"] {
            let program = translated(&Loaded::named(&objects, Hook::TC_INGRESS, name));
            assert!(program.contains("bpf_skb_store_bytes"), "{origin}, {name}: not what it should be:\n{program}");
            assert!(!program.contains(PROLOGUE_CALL), "{origin}, {name}: has a prologue:\n{program}");
        }
    }
}

#[test]
fn a_program_that_writes_directly_has_one() {
    let Some(()) = privilege::root() else { return };
    let Some(()) = privilege::tool("bpftool") else { return };
    // RFC 9669 section 3: opcode, registers, offset, immediate.
    let instruction = |opcode: u64, to: u64, from: u64, offset: u64, value: i32| {
        opcode | to << 8 | from << 12 | offset << 16 | u64::from(value.cast_unsigned()) << 32
    };
    let (data, data_end) = (76, 80); // in struct __sk_buff
    let program = Loaded::assembled(
        Hook::TC_EGRESS,
        &[
            instruction(0x61, 2, 1, data, 0),     // r2 = skb->data
            instruction(0x61, 3, 1, data_end, 0), // r3 = skb->data_end
            instruction(0xbf, 4, 2, 0, 0),        // r4 = r2
            instruction(0x07, 4, 0, 0, 1),        // r4 += 1
            instruction(0x2d, 4, 3, 2, 0),        // if r4 > r3 goto +2
            instruction(0xb7, 0, 0, 0, 0),        // r0 = 0
            instruction(0x73, 2, 0, 0, 0),        // *(u8 *)r2 = r0
            instruction(0xb7, 0, 0, 0, -1),       // r0 = TC_ACT_UNSPEC
            instruction(0x95, 0, 0, 0, 0),        // exit
        ],
    );
    assert!(translated(&program).contains(PROLOGUE_CALL), "the test above would not see a prologue");
}
