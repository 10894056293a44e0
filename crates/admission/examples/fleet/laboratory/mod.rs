//! The laboratory: a simulated fleet over the real admission code, models of other schemes, and the
//! experiments of the design. Shared by the example (full form) and `tests/experiments.rs` (short form).

pub(crate) mod experiments;
pub(crate) mod findings;
pub(crate) mod schemes;
pub(crate) mod simulation;
