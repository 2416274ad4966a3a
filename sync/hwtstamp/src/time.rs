//! Times that carry their clock in the type.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    iter::Sum,
    marker::PhantomData,
    ops::{Add, AddAssign, Neg, Sub, SubAssign},
    time::Duration,
};

use crate::{Phc, Timescale};

const NS_PER_S: i64 = 1_000_000_000;

/// What the clock `C` showed at some instant, in whole nanoseconds from its own beginning.
///
/// For [`Realtime`](crate::Realtime) that beginning is 1970 in UTC, for [`Tai`](crate::Tai) and for a [`Phc`](crate::Phc)
/// that somebody has set it is 1970 in TAI, for the monotonic clocks it is the boot of the machine. Values reach from
/// 292 years before it to 292 years after it; arithmetic saturates at these ends and never panics.
///
/// Times of one clock can be compared and subtracted:
///
/// ```
/// use hwtstamp::{Monotonic, Span, Time};
///
/// let sent = Time::<Monotonic>::from_ns(1_000);
/// let received = Time::<Monotonic>::from_ns(43_000);
/// assert_eq!(received - sent, Span::from_ns(42_000));
/// assert_eq!(sent + Span::from_us(42), received);
/// ```
///
/// Those of two clocks cannot:
///
/// ```compile_fail,E0277
/// use hwtstamp::{Monotonic, Phc, Time};
///
/// let sent = Time::<Monotonic>::from_ns(1_000);
/// let received = Time::<Phc>::from_ns(43_000);
/// let elapsed = received - sent;
/// ```
///
/// ```compile_fail,E0308
/// use hwtstamp::{Realtime, Tai, Time};
///
/// assert!(Time::<Realtime>::from_ns(0) < Time::<Tai>::from_ns(37_000_000_000));
/// ```
///
/// Nor is the sum of two times anything:
///
/// ```compile_fail,E0308
/// use hwtstamp::{Monotonic, Time};
///
/// let sum = Time::<Monotonic>::from_ns(1) + Time::<Monotonic>::from_ns(2);
/// ```
pub struct Time<C> {
    ns: i64,
    clock: PhantomData<fn() -> C>,
}

impl<C> Time<C> {
    /// The time `ns` nanoseconds after the clock's beginning.
    #[must_use]
    pub const fn from_ns(ns: i64) -> Self {
        Self { ns, clock: PhantomData }
    }

    /// The nanoseconds since the clock's beginning.
    #[must_use]
    pub const fn as_ns(self) -> i64 {
        self.ns
    }

    /// The time of the kernel's pair: seconds of either sign, and nanoseconds that always count forward from them.
    /// `None` where the nanoseconds are not below one second, or the time does not fit.
    pub(crate) fn from_parts(seconds: i64, nanoseconds: i64) -> Option<Self> {
        if !(0..NS_PER_S).contains(&nanoseconds) {
            return None;
        }
        // Of a negative time the product alone could be out of range where the sum is not.
        let ns = i128::from(seconds) * i128::from(NS_PER_S) + i128::from(nanoseconds);
        i64::try_from(ns).ok().map(Self::from_ns)
    }

    /// The reverse of [`Time::from_parts`].
    pub(crate) fn parts(self) -> (i64, i64) {
        Span::from_ns(self.ns).parts()
    }

    /// The instant in the middle between two times, rounded towards the earlier one.
    #[must_use]
    pub const fn midpoint(self, other: Self) -> Self {
        Self::from_ns((self.ns & other.ns) + ((self.ns ^ other.ns) >> 1))
    }
}

impl Time<Phc> {
    /// The same time, of the PHC that `D` [marks](crate::PhcDevice::marked). Which PHC a stamp of a socket is of, the program
    /// has to know: [`Timestamping::phc`](crate::Timestamping) tells it of the interface.
    ///
    /// ```
    /// use hwtstamp::{PhcDevice, Span, Timescale, socket::Stamps};
    ///
    /// enum Left {}
    /// impl Timescale for Left {
    ///     const NAME: &'static str = "left PHC";
    /// }
    ///
    /// fn age(stamps: Stamps, left: &PhcDevice<Left>) -> Result<Option<Span>, hwtstamp::Error> {
    ///     let now = left.read()?;
    ///     Ok(stamps.hardware.map(|stamp| now - stamp.marked()))
    /// }
    /// ```
    #[must_use]
    pub const fn marked<D: Timescale>(self) -> Time<D> {
        Time::from_ns(self.ns)
    }
}

impl<C> Copy for Time<C> {}
impl<C> Clone for Time<C> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<C> PartialEq for Time<C> {
    fn eq(&self, other: &Self) -> bool {
        self.ns == other.ns
    }
}
impl<C> Eq for Time<C> {}
impl<C> PartialOrd for Time<C> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<C> Ord for Time<C> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.ns.cmp(&other.ns)
    }
}
impl<C> Hash for Time<C> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.ns.hash(state);
    }
}
impl<C: Timescale> fmt::Debug for Time<C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ns of {}", self.ns, C::NAME)
    }
}

impl<C> Sub for Time<C> {
    type Output = Span;

    fn sub(self, earlier: Self) -> Span {
        Span::from_ns(self.ns.saturating_sub(earlier.ns))
    }
}
impl<C> Add<Span> for Time<C> {
    type Output = Self;

    fn add(self, span: Span) -> Self {
        Self::from_ns(self.ns.saturating_add(span.ns))
    }
}
impl<C> Sub<Span> for Time<C> {
    type Output = Self;

    fn sub(self, span: Span) -> Self {
        Self::from_ns(self.ns.saturating_sub(span.ns))
    }
}
impl<C> AddAssign<Span> for Time<C> {
    fn add_assign(&mut self, span: Span) {
        *self = *self + span;
    }
}
impl<C> SubAssign<Span> for Time<C> {
    fn sub_assign(&mut self, span: Span) {
        *self = *self - span;
    }
}

/// A signed length of time in nanoseconds: what lies between two times of one clock.
///
/// Arithmetic saturates at 292 years and never panics.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    ns: i64,
}

impl Span {
    /// No time.
    pub const ZERO: Self = Self::from_ns(0);
    /// The longest length of time: 292 years.
    pub const MAX: Self = Self::from_ns(i64::MAX);

    /// A number of nanoseconds.
    #[must_use]
    pub const fn from_ns(ns: i64) -> Self {
        Self { ns }
    }

    /// A number of microseconds.
    #[must_use]
    pub const fn from_us(us: i64) -> Self {
        Self::from_ns(us.saturating_mul(1_000))
    }

    /// A number of milliseconds.
    #[must_use]
    pub const fn from_ms(ms: i64) -> Self {
        Self::from_ns(ms.saturating_mul(1_000_000))
    }

    /// A number of seconds.
    #[must_use]
    pub const fn from_s(s: i64) -> Self {
        Self::from_ns(s.saturating_mul(NS_PER_S))
    }

    /// The nanoseconds.
    #[must_use]
    pub const fn as_ns(self) -> i64 {
        self.ns
    }

    /// Whole seconds of either sign, and nanoseconds that always count forward from them.
    pub(crate) const fn parts(self) -> (i64, i64) {
        (self.ns.div_euclid(NS_PER_S), self.ns.rem_euclid(NS_PER_S))
    }

    /// The length without its sign.
    #[must_use]
    pub const fn abs(self) -> Self {
        Self::from_ns(self.ns.saturating_abs())
    }

    /// The length without its sign, in nanoseconds.
    #[must_use]
    pub const fn unsigned_ns(self) -> u64 {
        self.ns.unsigned_abs()
    }

    /// Half of it, rounded towards negative infinity.
    #[must_use]
    pub const fn half(self) -> Self {
        Self::from_ns(self.ns >> 1)
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ns", self.ns)
    }
}
impl fmt::Display for Span {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ns", self.ns)
    }
}

impl Add for Span {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self::from_ns(self.ns.saturating_add(other.ns))
    }
}
impl Sub for Span {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self::from_ns(self.ns.saturating_sub(other.ns))
    }
}
impl Neg for Span {
    type Output = Self;

    fn neg(self) -> Self {
        Self::from_ns(self.ns.saturating_neg())
    }
}
impl AddAssign for Span {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}
impl SubAssign for Span {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}
impl Sum for Span {
    fn sum<I: Iterator<Item = Self>>(spans: I) -> Self {
        spans.fold(Self::ZERO, Add::add)
    }
}
impl From<Duration> for Span {
    /// Longer durations than [`Span::MAX`] become that.
    fn from(duration: Duration) -> Self {
        i64::try_from(duration.as_nanos()).map_or(Self::MAX, Self::from_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Monotonic, Realtime};

    #[test]
    fn pairs_of_the_kernel_count_forward_from_their_second() {
        let time = |seconds, nanoseconds| Time::<Realtime>::from_parts(seconds, nanoseconds).map(Time::as_ns);
        assert_eq!(time(1, 999_999_999), Some(1_999_999_999));
        assert_eq!(time(-1, 999_999_999), Some(-1));
        assert_eq!(time(-2, 0), Some(-2_000_000_000));
        assert_eq!(time(0, NS_PER_S), None);
        assert_eq!(time(0, -1), None);
        assert_eq!(time(i64::MAX, 0), None);
        assert_eq!(time(9_223_372_036, 854_775_807), Some(i64::MAX));
        assert_eq!(time(9_223_372_036, 854_775_808), None);
        assert_eq!(time(-9_223_372_037, 145_224_192), Some(i64::MIN));
        assert_eq!(time(-9_223_372_037, 145_224_191), None);
    }

    #[test]
    fn parts_are_the_reverse() {
        for ns in [0, 1, -1, NS_PER_S - 1, NS_PER_S, -NS_PER_S, -NS_PER_S - 1, i64::MAX, i64::MIN] {
            let (seconds, nanoseconds) = Time::<Realtime>::from_ns(ns).parts();
            assert!((0..NS_PER_S).contains(&nanoseconds), "{ns}: {nanoseconds}");
            assert_eq!(Time::<Realtime>::from_parts(seconds, nanoseconds).map(Time::as_ns), Some(ns));
        }
    }

    #[test]
    fn arithmetic_saturates() {
        let (first, last) = (Time::<Monotonic>::from_ns(i64::MIN), Time::<Monotonic>::from_ns(i64::MAX));
        assert_eq!(last - first, Span::MAX);
        assert_eq!(last + Span::from_ns(1), last);
        assert_eq!(first - Span::from_ns(1), first);
        assert_eq!((-Span::from_ns(i64::MIN)), Span::MAX);
        assert_eq!(Span::from_ns(i64::MIN).abs(), Span::MAX);
        assert_eq!(Span::from_s(i64::MAX), Span::MAX);
        assert_eq!(Span::from(Duration::MAX), Span::MAX);
    }

    #[test]
    fn the_midpoint_never_overflows() {
        let time = Time::<Monotonic>::from_ns;
        assert_eq!(time(3).midpoint(time(6)), time(4));
        assert_eq!(time(-3).midpoint(time(0)), time(-2));
        assert_eq!(time(i64::MAX).midpoint(time(i64::MAX - 2)), time(i64::MAX - 1));
        assert_eq!(time(i64::MIN).midpoint(time(i64::MAX)), time(-1));
    }
}
