//! The alarm that a tag secret may have leaked.

use prometheus_client::metrics::counter::Counter;

/// Counts and logs authentic tag ids that were never minted: only a holder of the tag secret can make one.
#[derive(Debug, Clone)]
pub struct KeyLeakAlarm {
    raised: Counter,
}

impl KeyLeakAlarm {
    pub(crate) fn new(raised: Counter) -> Self {
        Self { raised }
    }

    /// Raises the alarm for one such id. `request_id` identifies the request that presented it.
    pub fn raise(&self, request_id: &str) {
        self.raised.inc();
        tracing::error!(
            alarm = "key_leak",
            request_id,
            "an authentic tag id that was never minted was presented: the tag secret may have leaked"
        );
    }
}
