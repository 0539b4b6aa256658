//! The errors of an operation. They are classified by error code, not by message text.

use std::time::Duration;

/// An operation that got no usable reply.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PoolError {
    /// No permit came free in time: this process already runs as many operations as it may.
    #[error("no permit came free within {} ms", waited.as_millis())]
    Overloaded {
        /// How long the caller waited. Zero if the queue was full.
        waited: Duration,
    },
    /// Redis is unreachable, too slow, or in a state in which it rejects commands.
    #[error("redis is unavailable: {reason}")]
    Unavailable {
        /// Why Redis counts as unavailable.
        reason: UnavailableReason,
        /// When a retry may succeed.
        retry_after: Duration,
    },
    /// Redis rejected a command because the command or script itself is wrong.
    #[error("redis rejected a command: {code} {message}")]
    Server {
        /// The first word of the reply, e.g. `ERR` or `WRONGTYPE`.
        code: String,
        /// The rest of the reply.
        message: String,
    },
    /// The reply does not have the form that the caller expects.
    #[error("unexpected reply from redis: {what}")]
    Reply {
        /// What was wrong with it.
        what: String,
    },
}

/// Why Redis counts as unavailable.
#[derive(Debug, Clone, thiserror::Error)]
pub enum UnavailableReason {
    /// The circuit breaker rejected the operation.
    #[error("its circuit breaker is open")]
    BreakerOpen,
    /// No connection could be made within the deadline.
    #[error("not connected ({0})")]
    NotConnected(String),
    /// No reply arrived within the deadline. The command may have been executed.
    #[error("no reply within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The connection broke before the reply. The command may have been executed.
    #[error("the connection broke ({0})")]
    Broken(String),
    /// Redis answered `LOADING`, `READONLY`, `OOM`, `MISCONF`, `NOREPLICAS`, `NOPERM`, `CLUSTERDOWN`,
    /// `NOAUTH` or the like.
    #[error("it answered {0}")]
    Refusing(&'static str),
}

impl PoolError {
    /// Returns whether the command may have been executed although no reply was read.
    #[must_use]
    pub fn maybe_applied(&self) -> bool {
        matches!(
            self,
            Self::Unavailable { reason: UnavailableReason::Timeout(_) | UnavailableReason::Broken(_), .. }
        )
    }

    /// Classifies an error reply: either Redis rejects commands at present, or the command is wrong.
    pub(crate) fn from_server(code: &str, detail: &str, retry_after: Duration) -> Self {
        match refusing_code(code, detail) {
            Some(code) => Self::Unavailable { reason: UnavailableReason::Refusing(code), retry_after },
            None => Self::Server { code: code.to_owned(), message: detail.to_owned() },
        }
    }

    /// Returns the code of a rejected write. Redis may still serve reads.
    pub(crate) fn refused_write(&self) -> Option<&'static str> {
        self.code().filter(|code| refuses_writes(code))
    }

    /// Returns the code of a server that is not the primary. A new connection may lead to another server.
    pub(crate) fn not_the_primary(&self) -> Option<&'static str> {
        self.code().filter(|code| NOT_THE_PRIMARY.contains(code))
    }

    fn code(&self) -> Option<&'static str> {
        match self {
            Self::Unavailable { reason: UnavailableReason::Refusing(code), .. } => Some(code),
            _ => None,
        }
    }

    /// Returns the metric label of this error, from a small fixed set.
    pub(crate) fn label(&self) -> &'static str {
        const OURS: [&str; 4] = ["ERR", "WRONGTYPE", "NOSCRIPT", "NOPERM"];
        match self {
            Self::Overloaded { .. } => "overloaded",
            Self::Unavailable { reason, .. } => match reason {
                UnavailableReason::Refusing(code) => code,
                UnavailableReason::BreakerOpen => "breaker_open",
                UnavailableReason::NotConnected(_) => "not_connected",
                UnavailableReason::Timeout(_) => "timeout",
                UnavailableReason::Broken(_) => "connection_broken",
            },
            Self::Server { code, .. } => OURS.iter().find(|known| *known == code).unwrap_or(&"other"),
            Self::Reply { .. } => "unexpected_reply",
        }
    }

    /// Returns whether the circuit breaker counts this error as a failure.
    pub(crate) fn is_redis_failing(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    /// Returns whether Redis does not have the script. Then nothing has run.
    pub(crate) fn is_unknown_script(&self) -> bool {
        matches!(self, Self::Server { code, .. } if code == "NOSCRIPT")
    }
}

/// Returns whether Redis rejects writes with `code`, and perhaps only writes.
pub(crate) fn refuses_writes(code: &str) -> bool {
    REFUSES_WRITES.contains(&code)
}

/// Out of memory, a replica, too few replicas, a failed snapshot or append-only file, a missing right.
const REFUSES_WRITES: [&str; 5] = ["OOM", "READONLY", "NOREPLICAS", "MISCONF", "NOPERM"];

/// A replica (`READONLY`; `MASTERDOWN` where it has lost its primary; `LOADING` while it takes over the
/// primary's data), and a primary that was cut off from its replicas, one of which may have been promoted.
/// `OOM`, `MISCONF` and `NOPERM` say nothing about another server.
const NOT_THE_PRIMARY: [&str; 4] = ["READONLY", "MASTERDOWN", "LOADING", "NOREPLICAS"];

/// Codes with which Redis rejects commands at present, whatever the command.
const CODES: [&str; 12] = [
    "LOADING",
    "READONLY",
    "OOM",
    "MISCONF",
    "CLUSTERDOWN",
    "MASTERDOWN",
    "BUSY",
    "NOREPLICAS",
    "UNKILLABLE",
    "NOAUTH",
    "WRONGPASS",
    "NOPERM",
];

/// The labels of failed commands that have no code in [`CODES`]. An overload is counted as
/// `redis_pool_exhausted_total`, and a script that Redis does not have is no failure.
const OTHER_LABELS: [&str; 7] =
    ["ERR", "WRONGTYPE", "other", "not_connected", "timeout", "connection_broken", "unexpected_reply"];

/// Returns every value of the label `code` of `redis_errors_total`.
pub(crate) fn error_labels() -> impl Iterator<Item = &'static str> {
    CODES.into_iter().chain(OTHER_LABELS)
}

/// Returns the code with which Redis rejects commands at present, if the reply names one. Redis 6.2 wraps the
/// code of a command that failed inside a script in `ERR Error running script …: -CODE …`; Redis 7 passes it
/// on as it is.
fn refusing_code(code: &str, detail: &str) -> Option<&'static str> {
    if let Some(known) = CODES.iter().find(|known| **known == code) {
        return Some(known);
    }
    // In Redis 7.0, a script gets this text instead of NOPERM if a command or a key is forbidden.
    if code == "ERR" && detail.starts_with("The user executing the script can't ") {
        return Some("NOPERM");
    }
    if code != "ERR" || !detail.contains("running script") {
        return None;
    }
    CODES
        .iter()
        .find(|known| detail.split_whitespace().any(|word| word.strip_prefix('-') == Some(**known)))
        .copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(code: &str, detail: &str) -> Option<&'static str> {
        match PoolError::from_server(code, detail, Duration::ZERO) {
            PoolError::Unavailable { reason: UnavailableReason::Refusing(code), .. } => Some(code),
            _ => None,
        }
    }

    #[test]
    fn an_unavailable_redis_is_distinguished_from_a_wrong_command() {
        assert_eq!(kind("LOADING", "Redis is loading the dataset in memory"), Some("LOADING"));
        assert_eq!(kind("OOM", "command not allowed when used memory > 'maxmemory'."), Some("OOM"));
        assert_eq!(kind("NOAUTH", "Authentication required."), Some("NOAUTH"));
        assert_eq!(kind("NOPERM", "this user has no permissions to run the 'set' command"), Some("NOPERM"));
        assert_eq!(kind("WRONGTYPE", "Operation against a key holding the wrong kind of value"), None);
        assert_eq!(kind("ERR", "unknown command 'OOM'"), None);
    }

    #[test]
    fn a_code_wrapped_by_an_older_redis_is_found() {
        let wrapped = "Error running script (call to f_ab): @user_script:1: \
                       -READONLY You can't write against a read only replica.";
        assert_eq!(kind("ERR", wrapped), Some("READONLY"));
        let forbidden = "The user executing the script can't run this command or subcommand script: ab, \
                         on @user_script:1.";
        assert_eq!(kind("ERR", forbidden), Some("NOPERM"));
        assert_eq!(
            kind("ERR", "Error running script (call to f_ab): @user_script:1: attempt to index a nil value"),
            None
        );
    }

    #[test]
    fn only_a_lost_reply_leaves_the_execution_of_a_command_unknown() {
        let unavailable = |reason| PoolError::Unavailable { reason, retry_after: Duration::ZERO };
        assert!(unavailable(UnavailableReason::Timeout(Duration::ZERO)).maybe_applied());
        assert!(unavailable(UnavailableReason::Broken(String::new())).maybe_applied());
        assert!(!unavailable(UnavailableReason::BreakerOpen).maybe_applied());
        assert!(!unavailable(UnavailableReason::NotConnected(String::new())).maybe_applied());
        assert!(!PoolError::Overloaded { waited: Duration::ZERO }.maybe_applied());
    }
}
