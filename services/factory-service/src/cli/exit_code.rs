//! The exit codes of `audit verify` and `audit repair`.

/// The chain or a checkpoint is wrong, or the repair was rejected.
pub(super) const BROKEN: u8 = 1;
/// The result could not be determined.
pub(super) const NOT_CHECKED: u8 = 2;
