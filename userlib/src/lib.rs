//! For probers: reserve a trailer, strip it from the reply, correct the RTT by the stamps inside it.
