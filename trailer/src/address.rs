//! Addresses of both versions of IP in one form.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zerocopy::transmute;

/// An IPv6 address, or an IPv4 address mapped into one ([RFC 4291 section 2.5.5.2]): the words of its 16 bytes in network
/// byte order, as they lie in memory.
///
/// [RFC 4291 section 2.5.5.2]: https://www.rfc-editor.org/rfc/rfc4291#section-2.5.5.2
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Address([u32; 4]);

impl Address {
    const MAPPED: [u32; 3] = [0, 0, u32::from_be(0xffff)];

    /// The IPv6 address of these words, unless it is an IPv4 address mapped into one: in a packet it would pass for that.
    #[inline(always)]
    pub(crate) const fn of_ipv6(words: [u32; 4]) -> Option<Self> {
        let [a, b, c, _] = words;
        if a == Self::MAPPED[0] && b == Self::MAPPED[1] && c == Self::MAPPED[2] { None } else { Some(Self(words)) }
    }

    /// The IPv4 address of this word, mapped.
    #[inline(always)]
    pub(crate) const fn mapped(word: u32) -> Self {
        let [a, b, c] = Self::MAPPED;
        Self([a, b, c, word])
    }

    /// The words, as they lie in memory.
    #[inline(always)]
    pub const fn words(self) -> [u32; 4] {
        self.0
    }

    /// The bytes in network order.
    pub fn bytes(self) -> [u8; 16] {
        transmute!(self.0)
    }
}

impl From<Ipv6Addr> for Address {
    fn from(address: Ipv6Addr) -> Self {
        Self(transmute!(address.octets()))
    }
}

impl From<Ipv4Addr> for Address {
    fn from(address: Ipv4Addr) -> Self {
        address.to_ipv6_mapped().into()
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => address.into(),
        }
    }
}

impl From<Address> for IpAddr {
    fn from(address: Address) -> Self {
        IpAddr::V6(address.bytes().into()).to_canonical()
    }
}
