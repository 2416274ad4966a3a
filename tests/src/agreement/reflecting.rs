//! The same, with requests that are turned round.

use std::{cell::RefCell, collections::HashMap, net::IpAddr};

use hwtstamp::{Monotonic, SystemClock as _};
use instamp_hooks::Objects;
use instamp_trailer::{
    Address, Clock, Hook, Host, Mirror, Reflect, Reflection, Site, Standing, Trailer, locate, reflect, stamp,
};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use super::{Twin, address, keeps_sum, lengths, next_record, policy, with_policy};
use crate::{
    packets::{ETHERNET, Generator, PROBER4, PROBER6, TARGET4, TARGET6},
    programs::{Loaded, Run, site},
};

const XDP_PASS: i32 = 2;
const XDP_TX: i32 = 3;
/// The host's own addresses.
const OWN: [IpAddr; 2] = [PROBER4, PROBER6];
/// Whose requests are reflected.
const ALLOWED: [IpAddr; 2] = [TARGET4, TARGET6];

/// The address of a container: the host measures for it, and does not answer.
fn container() -> IpAddr {
    address("10.0.0.7")
}

/// The native host, which reads the times that the kernel has read.
struct Reflecting<'a> {
    twin: &'a Twin,
    times: RefCell<Vec<u64>>,
}

impl Host for Reflecting<'_> {
    fn site(&self) -> Option<Site> {
        self.twin.site()
    }

    fn standing(&self, address: Address) -> Standing {
        if IpAddr::from(address) == container() { Standing::OWN } else { self.twin.standing(address) }
    }

    fn answers_for(&self, address: Address) -> bool {
        OWN.contains(&address.into())
    }

    fn now_ns(&self, clock: Clock) -> Option<u64> {
        // Those of the reflection come first.
        self.times.borrow_mut().pop().or_else(|| self.twin.now_ns(clock))
    }
}

impl Mirror for Reflecting<'_> {
    fn clock(&self) -> Clock {
        Clock::TAI
    }

    fn address(&self) -> [u8; 6] {
        ETHERNET
    }

    fn admit(&self, source: Address) -> Result<(), Reflection> {
        if ALLOWED.contains(&source.into()) { Ok(()) } else { Err(Reflection::NotAllowed) }
    }
}

/// Compares `xdp_reflect`, as part of an attachment and alone, with the native routines on as many generated packets, which `seed`
/// decides, and its counters with what became of them.
///
/// # Panics
///
/// They differ, or something that can become of a request became of none.
pub fn compare_reflecting(origin: &str, objects: &Objects, packets: usize, seed: u64) {
    for stamps in [true, false] {
        let mut program = with_policy(Loaded::named(objects, Hook::XDP_INGRESS, "xdp_reflect"));
        program.set_site(site());
        program.measure_for(container());
        ALLOWED.into_iter().for_each(|address| program.allow(address));
        // Nobody sends too much for it.
        let until_ns = Monotonic::now().as_ns().cast_unsigned() + 3_600_000_000_000;
        let reflect = Reflect {
            until_ns,
            burst_ns: u64::MAX / 2,
            clock: Clock::TAI.number(),
            stamps: stamps.into(),
            address: ETHERNET,
            ..Reflect::default()
        };
        program.set_reflect(reflect);

        let mut random = SmallRng::seed_from_u64(seed);
        let mut addresses: Vec<_> = policy().into_iter().map(|(address, _)| address).collect();
        addresses.extend([TARGET4, TARGET6, container()]);
        let lengths = lengths(Hook::XDP_INGRESS);
        let generator = SmallRng::from_rng(&mut random);
        let mut generator = Generator { random: generator, addresses, lengths, run: None };
        let (mut reflections, mut outcomes) = (HashMap::new(), HashMap::new());
        for _ in 0..packets / 2 {
            let mut frame = if random.random_bool(0.6) { generator.request(&OWN) } else { generator.frame() };
            // Of groups, or of another device.
            if random.random_bool(0.05) {
                frame[random.random_range(0..2_usize) * 6] |= 1;
            } else if random.random_bool(0.05) {
                frame[random.random_range(0..6_usize)] ^= 1 << random.random_range(1..8);
            }
            let twin = Twin::new(site());
            let Run { frame: behind, verdict } = program.run(&frame);
            let is_turned = verdict == XDP_TX;
            let times = if is_turned { stamped(&behind) } else { vec![0] };
            twin.time_ns.set(next_record(&frame, &behind).map_or(0, |record| record.time_ns()));
            let host = Reflecting { twin: &twin, times: RefCell::new(times) };

            let mut native = frame.clone();
            let reflection =
                locate(native.as_slice()).ok().and_then(|probe| reflect_native(native.as_mut_slice(), &host, &probe));
            assert_eq!(reflection.is_some_and(Reflection::is_turned), is_turned, "{frame:02x?}: {reflection:?}");
            assert!(is_turned || verdict == XDP_PASS, "{verdict}");
            if let Some(reflection) = reflection {
                *reflections.entry(reflection).or_insert(0_u64) += 1;
            }
            if !is_turned && stamps {
                host.times.take();
                let outcome = stamp(native.as_mut_slice(), &host, Hook::XDP_INGRESS);
                *outcomes.entry(outcome).or_insert(0_u64) += 1;
            }
            assert_eq!(native, behind, "{frame:02x?}: {reflection:?}");
            keeps_sum(&frame, &behind);
        }
        for (reflection, count) in program.reflections() {
            let context = format!("{origin}, stamps: {stamps}: {count} requests were {}", reflection.name());
            assert_eq!(reflections.get(&reflection).copied().unwrap_or(0), count, "{context}");
            assert_eq!(count > 0, reflection != Reflection::Limited, "{context}");
        }
        for (outcome, count) in program.counts() {
            assert_eq!(outcomes.get(&outcome).copied().unwrap_or(0), count, "{origin}: {outcome:?}");
        }
    }
}

fn reflect_native(frame: &mut [u8], host: &Reflecting<'_>, probe: &instamp_trailer::Probe) -> Option<Reflection> {
    reflect(frame, host, host, probe, || true)
}

/// The times of the two records that were written last, the later one first.
fn stamped(reply: &[u8]) -> Vec<u64> {
    let probe = locate(reply).expect("it was a probe");
    let [message, footer] =
        [probe.message_offset, probe.footer_offset].map(|offset| usize::try_from(offset).expect("an offset"));
    let trailer = Trailer::parse(&reply[message + 8..footer + 16]).expect("a trailer");
    trailer.records.iter().rev().take(2).map(|record| record.time_ns()).collect()
}
