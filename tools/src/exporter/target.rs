//! Probing: a task for each target, so that none waits for another.

use std::{net::IpAddr, pin::pin, time::Duration};

use instamp::prober::{Event, Prober};
use tokio::time::sleep;

use super::{
    config::Target,
    metrics::{Families, Metrics},
    problem::Problem,
};
use crate::{
    resolve::{Family, resolve_again},
    source::Source,
};

/// Names are looked up this often at most, and whether a socket brings replies.
const REVIEW: Duration = Duration::from_secs(60);
/// When to try again where there is no address, or no socket.
const RETRY: Duration = Duration::from_secs(10);

/// Begins to probe: not all at once, so that the reply of one does not wait for that of another.
pub(super) fn start_all(targets: Vec<Target>, families: &Families) {
    let count = u32::try_from(targets.len()).unwrap_or(u32::MAX);
    for (number, target) in (0..).zip(targets) {
        let mut metrics = families.of(&target.name);
        tokio::task::spawn_local(async move {
            sleep(target.interval * number / count).await;
            probe(&target, &mut metrics).await;
        });
    }
}

/// Probes for ever.
async fn probe(target: &Target, metrics: &mut Metrics) {
    let mut problem = Problem::default();
    let mut address = None;
    loop {
        let opened = open(target, address).await;
        if let Some((prober, found)) = problem.note(&target.name, opened) {
            address = Some(found);
            metrics.probes(&target.host, found);
            follow(target, found, prober, metrics, &mut problem).await;
        } else {
            metrics.is_probing(false);
            sleep(RETRY).await;
        }
    }
}

async fn open(target: &Target, present: Option<IpAddr>) -> anyhow::Result<(Prober, IpAddr)> {
    let (address, interface) = look_up(target, present).await?;
    Ok((Prober::new(target.config(address, interface))?, address))
}

async fn look_up(target: &Target, present: Option<IpAddr>) -> anyhow::Result<(IpAddr, Option<String>)> {
    let family = target.source.as_ref().map_or(Family::Any, Source::family);
    resolve_again(&target.host, family, present).await
}

/// Counts until the name has another address, or nothing was received for a while, as happens to a socket whose address was
/// taken from this host. What is outstanding then is waited for.
async fn follow(target: &Target, address: IpAddr, mut prober: Prober, metrics: &Metrics, problem: &mut Problem) {
    // A request between has had its reply or not.
    let after = REVIEW.max(2 * target.interval + target.timeout);
    let review = async || {
        sleep(after).await;
        look_up(target, Some(address)).await
    };
    let mut reviewed = pin!(review());
    let mut has_replies = false;
    loop {
        tokio::select! {
            event = prober.next() => {
                let Some(event) = event else { return };
                has_replies |= matches!(&event, Event::Reply(reply) if reply.is_first_answer());
                metrics.count(&event);
            }
            found = &mut reviewed => {
                // Without a name server the address stays what it is.
                let found = problem.note(&target.name, found).map_or(address, |(found, _)| found);
                if found != address || !has_replies {
                    prober.stop();
                }
                has_replies = false;
                reviewed.set(review());
            }
        }
    }
}
