//! Models and steers the hardware clock of a network card (PHC) against the system's clock.
