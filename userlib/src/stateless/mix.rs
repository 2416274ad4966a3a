//! Numbers that look random, from numbers that do not.

/// The steps between the numbers that [`spread`] is given: 2^64 divided by the golden ratio, so that they are far apart.
pub(super) const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Each bit of the result depends on each of `number`; different ones stay different.
///
/// The multipliers, here and below, are those of Stafford's Mix13.
pub(super) const fn spread(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// 32 bits, each of which depends on each of the lower 32 of `number`, and on the key.
pub(super) const fn mixed(number: u64, key: u64) -> u64 {
    let product = (number ^ key).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    // The upper bits of a product know of all below: each product takes what is below from the one before.
    (product ^ (product >> 32)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 32
}
