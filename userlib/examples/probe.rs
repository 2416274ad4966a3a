//! Probes addresses past the kernel's stack: `probe DEVICE RATE ROUNDS ADDRESS...`, as root.

use std::{env, error::Error, num::NonZeroU64, time::Duration};

use instamp::{
    afxdp::{Counts, Hooks, Reply, RunOptions, Sink, StatelessRun, TransportOptions, Verdict},
    stateless::{Plan, Targets, parse_prefix},
};

/// The sum of the network's times of the replies in time.
#[derive(Default)]
struct Sum(i64);

impl Sink for Sum {
    fn reply(&mut self, reply: &Reply) {
        if let (Verdict::Answer, Ok(correction)) = (reply.verdict, reply.correction) {
            self.0 += correction.net_ns;
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [device, rate, rounds, targets @ ..] = &*arguments else { return Err("DEVICE RATE ROUNDS ADDRESS...".into()) };
    let targets = targets.iter().map(|target| parse_prefix(target)).collect::<Result<Vec<_>, _>>()?;
    let plan = Plan::new(Targets::new(&targets, &[])?, rounds.parse()?, [1, 2])?;
    let options = RunOptions { rate: NonZeroU64::new(rate.parse()?), ..RunOptions::new(TransportOptions::new(device)) };
    let hooks = Hooks::open(None, |notice| eprintln!("{notice}"))?;

    let (outcomes, failed) = StatelessRun::start(&hooks, &options, plan, |_queue| Sum::default())?.join();
    let mut counts = Counts::default();
    outcomes.iter().for_each(|outcome| counts += outcome.counts);
    println!("{counts:?}");
    let sum: i64 = outcomes.iter().map(|outcome| outcome.sink.0).sum();
    if let Some(mean) = i64::try_from(counts.corrected).ok().and_then(|corrected| sum.checked_div(corrected)) {
        println!("net: {:?} on average", Duration::from_nanos(mean.unsigned_abs()));
    }
    failed.map_or(Ok(()), |error| Err(error.into()))
}
