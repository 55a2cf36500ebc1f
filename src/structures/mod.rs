//! Data structures in memory. They read no clock, no entropy and no configuration: what they need comes in.
