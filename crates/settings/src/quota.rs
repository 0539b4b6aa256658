//! Settings in requests per minute.

use rate_limiter::Quota;

use crate::{Kind, whole};

/// Takes requests per minute: a whole number from 1 to `most`, at most [`Quota::MAX`].
#[must_use]
pub fn quota(most: u32) -> Kind<Quota> {
    let most = most.min(Quota::MAX);
    whole(1..=u64::from(most))
        .map(|number| per_minute(u32::try_from(number).unwrap_or(u32::MAX)))
        .shown_as(|quota| quota.get().to_string())
}

/// Converts the default of such a setting.
///
/// # Panics
/// Panics if `number` is not a valid quota.
#[must_use]
pub fn per_minute(number: u32) -> Quota {
    Quota::new(number).expect("the number is within the range of quotas")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Env;

    #[test]
    fn a_quota_is_shown_as_a_number() {
        let env: Env = [("WRITES", "600")].into_iter().collect();
        let read = |most| env.get("WRITES", per_minute(1), &quota(most)).map(Quota::get);
        assert_eq!(read(Quota::MAX).unwrap(), 600);
        assert!(env.effective().to_string().contains("WRITES=600"), "{}", env.effective());
        let error = read(599).unwrap_err().to_string();
        assert!(error.contains("599"), "{error}");
    }
}
