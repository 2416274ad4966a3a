//! The XDP program that turns requests round: as the native routine does, for whom it may, as often as it may, and as long.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::net::IpAddr;

use hwtstamp::{Monotonic, SystemClock as _};
use instamp_hooks::Objects;
use instamp_tests::{
    agreement::compare_reflecting,
    packets::{ETHERNET, Frame, PROBER4, PROBER6, TARGET4, TARGET6},
    privilege,
    programs::{Loaded, objects, site},
};
use instamp_trailer::{Clock, Hook, Reflect, Reflection, Standing};

const PACKETS: usize = 100_000;
const XDP_PASS: i32 = 2;
const XDP_TX: i32 = 3;
const HOUR_NS: u64 = 3_600_000_000_000;

fn now_ns() -> u64 {
    Monotonic::now().as_ns().cast_unsigned()
}

/// The program on a host that has the probers' addresses, and reflects for the targets: `burst` requests at once, and then one an hour.
fn loaded(objects: &Objects, until_ns: u64, burst: u64, stamps: bool) -> Loaded {
    let mut loaded = Loaded::named(objects, Hook::XDP_INGRESS, "xdp_reflect");
    loaded.set_site(site());
    for own in [PROBER4, PROBER6] {
        loaded.set_standing(own, Standing::OWN);
    }
    for allowed in [TARGET4, TARGET6] {
        loaded.allow(allowed);
    }
    let clock = Clock::MONOTONIC.number();
    let burst_ns = (burst - 1) * HOUR_NS;
    let reflect = Reflect {
        until_ns,
        interval_ns: HOUR_NS,
        burst_ns,
        clock,
        stamps: stamps.into(),
        address: ETHERNET,
        ..Reflect::default()
    };
    loaded.set_reflect(reflect);
    loaded
}

fn request(source: IpAddr, destination: IpAddr) -> Vec<u8> {
    Frame::request(source, destination).bytes()
}

fn counted(loaded: &Loaded) -> Vec<(Reflection, u64)> {
    loaded.reflections().into_iter().filter(|(_, count)| *count > 0).collect()
}

#[test]
fn the_kernel_and_the_native_routine_agree_on_reflections() {
    let Some(()) = privilege::root() else { return };
    for (origin, objects) in objects() {
        compare_reflecting(origin, &objects, PACKETS, 1);
    }
}

#[test]
fn a_source_has_its_burst_and_its_rate() {
    let Some(()) = privilege::root() else { return };
    for (_, objects) in objects() {
        let mut loaded = loaded(&objects, now_ns() + HOUR_NS, 3, true);
        let another: IpAddr = "198.51.100.3".parse().unwrap();
        // Of one network, of which an IPv6 source is the upper half.
        let [near, far] = ["2001:db8:0:1::77", "2001:db8:0:2::2"].map(|text| text.parse::<IpAddr>().unwrap());
        [another, near, far].into_iter().for_each(|address| loaded.allow(address));
        let turned = |source: IpAddr| {
            let own = if source.is_ipv4() { PROBER4 } else { PROBER6 };
            loaded.run(&request(source, own)).verdict == XDP_TX
        };
        assert_eq!([(); 5].map(|()| turned(TARGET4)), [true, true, true, false, false]);
        assert_eq!([(); 4].map(|()| turned(another)), [true, true, true, false]);
        assert_eq!([TARGET6, near, TARGET6, near, far].map(turned), [true, true, true, false, true]);
        assert_eq!(counted(&loaded), [(Reflection::Stamped, 10), (Reflection::Limited, 4)]);
    }
}

#[test]
fn nothing_is_reflected_when_the_lease_is_over() {
    let Some(()) = privilege::root() else { return };
    for (_, objects) in objects() {
        for until_ns in [0, now_ns()] {
            for stamps in [true, false] {
                let loaded = loaded(&objects, until_ns, 100, stamps);
                let frame = request(TARGET4, PROBER4);
                let run = loaded.run(&frame);
                assert_eq!((run.verdict, run.frame), (XDP_PASS, frame));
                assert_eq!(counted(&loaded), []);
            }
        }
    }
}

#[test]
fn what_is_not_reflected_is_stamped_where_it_takes_the_place_of_another_program() {
    let Some(()) = privilege::root() else { return };
    for (_, objects) in objects() {
        for stamps in [true, false] {
            let loaded = loaded(&objects, now_ns() + HOUR_NS, 100, stamps);
            let reply = Frame { used: 1, ..Frame::request(PROBER4, TARGET4) }.reply().bytes();
            let run = loaded.run(&reply);
            assert_eq!((run.verdict, run.frame != reply), (XDP_PASS, stamps));
            let stamped = loaded.counts().into_iter().filter(|(_, count)| *count > 0).collect::<Vec<_>>();
            assert_eq!(stamped, if stamps { vec![(Ok(()), 1)] } else { Vec::new() });
        }
    }
}

#[test]
fn frames_to_another_device_are_left_to_the_stack_and_not_counted() {
    let Some(()) = privilege::root() else { return };
    for (_, objects) in objects() {
        let loaded = loaded(&objects, now_ns() + HOUR_NS, 100, false);
        for byte in 0..ETHERNET.len() {
            let mut frame = request(TARGET4, PROBER4);
            frame[byte] ^= 0x80;
            let run = loaded.run(&frame);
            assert_eq!((run.verdict, run.frame), (XDP_PASS, frame));
        }
        assert_eq!(counted(&loaded), []);
    }
}

#[test]
fn frames_in_several_buffers_are_left_to_the_stack() {
    let Some(()) = privilege::root() else { return };
    for (_, objects) in objects() {
        let loaded = loaded(&objects, now_ns() + HOUR_NS, 100, false);
        // The trailer lies in the first buffer, and the frame goes on behind it.
        let frame = Frame { padding: 6000, ..Frame::request(TARGET4, PROBER4) }.bytes();
        let run = loaded.run(&frame);
        assert_eq!((run.verdict, run.frame), (XDP_PASS, frame));
        assert_eq!(counted(&loaded), [(Reflection::Unfit, 1)]);
    }
}
