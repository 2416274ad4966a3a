//! The published model of a network card's clock.
