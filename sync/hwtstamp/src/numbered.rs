//! What the kernel numbers: bits of a capability, modes, filters. Each has the kernel's name, and sets are masks of bits.

use std::{fmt, marker::PhantomData, ops::BitOr};

/// Something that the kernel gives a number below 32, and a name.
pub trait Numbered: Copy {
    /// The one with this number, whether it is known here or not.
    fn from_number(number: u32) -> Self;

    /// The kernel's number.
    fn number(self) -> u32;

    /// The name that `ethtool` prints; `None` for numbers that came after this library.
    fn name(self) -> Option<&'static str>;
}

/// A set of what the kernel numbers.
pub struct Set<T> {
    bits: u32,
    of: PhantomData<fn() -> T>,
}

impl<T> Set<T> {
    /// None of them.
    pub const EMPTY: Self = Self::from_bits(0);

    /// From the kernel's mask.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self { bits, of: PhantomData }
    }

    /// The kernel's mask.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.bits
    }
}

impl<T: Numbered> Set<T> {
    /// Whether `item` is in it.
    #[must_use]
    pub fn contains(self, item: T) -> bool {
        self.bits & Self::from(item).bits != 0
    }

    /// Whether all of `others` are in it.
    #[must_use]
    pub const fn contains_all(self, others: Self) -> bool {
        self.bits & others.bits == others.bits
    }

    /// What is in it, by rising number.
    pub fn iter(self) -> impl Iterator<Item = T> {
        (0..u32::BITS).filter(move |number| self.bits >> number & 1 == 1).map(T::from_number)
    }
}

impl<T> Copy for Set<T> {}
impl<T> Clone for Set<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> PartialEq for Set<T> {
    fn eq(&self, other: &Self) -> bool {
        self.bits == other.bits
    }
}
impl<T> Eq for Set<T> {}
impl<T> Default for Set<T> {
    fn default() -> Self {
        Self::EMPTY
    }
}
impl<T: Numbered> From<T> for Set<T> {
    fn from(item: T) -> Self {
        Self::from_bits(1_u32.checked_shl(item.number()).unwrap_or(0))
    }
}
impl<T: Numbered> BitOr<T> for Set<T> {
    type Output = Self;

    fn bitor(self, item: T) -> Self {
        Self::from_bits(self.bits | Self::from(item).bits)
    }
}
impl<T: Numbered> FromIterator<T> for Set<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        items.into_iter().fold(Self::EMPTY, BitOr::bitor)
    }
}
impl<T: Numbered + fmt::Display> fmt::Debug for Set<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.iter().map(|item| item.to_string())).finish()
    }
}

macro_rules! numbered {
    ($(#[$attribute:meta])* $name:ident { $($(#[$about:meta])* $item:ident = $number:expr, $text:literal;)* }) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u32);

        impl $name {
            $($(#[$about])* pub const $item: Self = Self($number);)*

            /// The one that `ethtool` calls by this name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($text => Some(Self::$item),)*
                    _ => None,
                }
            }
        }

        impl $crate::Numbered for $name {
            fn from_number(number: u32) -> Self {
                Self(number)
            }

            fn number(self) -> u32 {
                self.0
            }

            fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$item => Some($text),)*
                    _ => None,
                }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                match $crate::Numbered::name(*self) {
                    Some(name) => formatter.pad(name),
                    None => write!(formatter, "number-{}", self.0),
                }
            }
        }

        impl ::std::fmt::Debug for $name {
            fn fmt(&self, formatter: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Display::fmt(self, formatter)
            }
        }

        impl ::std::ops::BitOr for $name {
            type Output = $crate::Set<Self>;

            fn bitor(self, other: Self) -> $crate::Set<Self> {
                $crate::Set::from(self) | other
            }
        }
    };
}
pub(crate) use numbered;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RxFilter, StampFlag};

    #[test]
    fn sets_are_the_masks_of_the_kernel() {
        let flags = StampFlag::TX_HARDWARE | StampFlag::RAW_HARDWARE;
        assert_eq!(flags.bits(), libc::SOF_TIMESTAMPING_TX_HARDWARE | libc::SOF_TIMESTAMPING_RAW_HARDWARE);
        assert!(flags.contains(StampFlag::TX_HARDWARE) && !flags.contains(StampFlag::RX_HARDWARE));
        assert_eq!(flags.iter().collect::<Set<_>>(), flags);
        assert_eq!(format!("{flags:?}"), r#"{"hardware-transmit", "hardware-raw-clock"}"#);
    }

    #[test]
    fn what_is_unknown_keeps_its_number() {
        let filters = Set::<RxFilter>::from_bits(1 << 31 | 1 << 15);
        let names: Vec<_> = filters.iter().map(|filter| filter.to_string()).collect();
        assert_eq!(names, ["ntp-all", "number-31"]);
        assert_eq!(RxFilter::from_name("ptpv2-event"), Some(RxFilter::PTP_V2_EVENT));
        assert_eq!(RxFilter::from_name("number-31"), None);
        assert_eq!(Set::from(RxFilter::from_number(32)), Set::EMPTY);
    }
}
