//! The clocks that can be steered.

use anyhow::bail;
use hwtstamp::{Frequency, PhcDevice, Span, system};
use instamp_sync::Clock;

/// A card's clock.
pub(super) struct Card(pub(super) PhcDevice);

impl Clock for Card {
    type Error = anyhow::Error;

    fn frequency(&self) -> anyhow::Result<f64> {
        Ok(self.0.frequency()?.ppb())
    }

    fn set_frequency(&mut self, ppb: f64) -> anyhow::Result<()> {
        Ok(self.0.set_frequency(Frequency::from_ppb(ppb))?)
    }

    fn step(&mut self, by: Span) -> anyhow::Result<()> {
        Ok(self.0.step(by)?)
    }

    fn max_frequency(&self) -> f64 {
        // A clock that does not tell takes no adjustment.
        self.0.max_frequency().map_or(0.0, Frequency::ppb)
    }
}

/// `CLOCK_REALTIME`.
pub(super) struct System;

impl Clock for System {
    type Error = anyhow::Error;

    fn frequency(&self) -> anyhow::Result<f64> {
        let discipline = system::discipline()?;
        // A loop that is on and has nothing to do is what a daemon leaves behind. It moves the clock no more.
        if discipline.slew != Span::ZERO {
            bail!(
                "the kernel slews the system's clock, by {} yet, as adjtime(3) or a daemon has told it: stop that. What it leaves \
                 ends by itself, which may take hours, or when the time is set: `date -s \"@$(date +%s.%N)\"`. Or leave out --steer",
                discipline.slew
            );
        }
        Ok(discipline.frequency.ppb())
    }

    fn set_frequency(&mut self, ppb: f64) -> anyhow::Result<()> {
        system::set_frequency(Frequency::from_ppb(ppb))?;
        Ok(system::declare_synchronized()?)
    }

    fn step(&mut self, by: Span) -> anyhow::Result<()> {
        Ok(system::step(by)?)
    }

    fn max_frequency(&self) -> f64 {
        system::max_frequency().map_or(0.0, Frequency::ppb)
    }
}
