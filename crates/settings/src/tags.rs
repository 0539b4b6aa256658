//! The secrets of tag ids, one per epoch.

use std::sync::Arc;

use keyring::KeyNumber;
use tag_id::{Epoch, MasterSecret, TagKeys};

use crate::{Env, EnvError, Kind, whole};

const TAG_SECRET: &str = "TAG_MASTER_SECRET";
const TAG_EPOCH: &str = "TAG_KEY_EPOCH";
const MASTER_SECRET: &str = "32 random bytes as 64 hex digits, e.g. the output of: openssl rand -hex 32";

/// The secrets of tag ids and the first active epoch.
#[derive(Debug, Clone)]
pub struct TagSettings {
    /// `TAG_MASTER_SECRET[_<epoch>][_FILE]`.
    pub tag_keys: Arc<TagKeys>,
    /// `TAG_KEY_EPOCH`: the active epoch of a new keyring record. Later it must only be an epoch whose secret
    /// is set.
    pub active_epoch: Epoch,
}

impl TagSettings {
    /// Reads the section.
    ///
    /// # Errors
    /// Fails if a variable cannot be parsed, if its name does not end in an epoch, or if the active epoch has
    /// no secret.
    pub fn from_env(env: &Env) -> Result<Self, EnvError> {
        let active_epoch = env.get(TAG_EPOCH, Epoch::MIN, &epoch())?;
        let default = env.secret(TAG_SECRET, &master_secret())?;
        let mut own = Vec::new();
        for number in env.numbers_after(TAG_SECRET, "epoch")? {
            let epoch = KeyNumber::epoch(number);
            let name = format!("{TAG_SECRET}_{}", epoch.get());
            own.extend(env.secret(&name, &master_secret())?.map(|secret| (epoch, secret)));
        }
        let tag_keys = TagKeys::new(default, own);
        if !tag_keys.has(active_epoch) {
            let number = active_epoch.get();
            let either = format!(
                "{TAG_SECRET} or {TAG_SECRET}_{number} (or either with _FILE; {TAG_EPOCH} is {number})"
            );
            return Err(EnvError::Missing { name: either, takes: MASTER_SECRET.to_owned() });
        }
        Ok(Self { tag_keys: Arc::new(tag_keys), active_epoch })
    }
}

fn epoch() -> Kind<Epoch> {
    whole(1..=u64::from(Epoch::MAX.get()))
        .map(|number| {
            u16::try_from(number).ok().and_then(Epoch::new).expect("the range is the range of epochs")
        })
        .shown_as(|epoch| epoch.get().to_string())
}

fn master_secret() -> Kind<MasterSecret> {
    Kind::new(MASTER_SECRET, |text| MasterSecret::from_hex(text).map_err(|error| error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn env<const N: usize>(pairs: [(&str, &str); N]) -> Env {
        pairs.into_iter().collect()
    }

    #[test]
    fn the_secret_of_the_active_epoch_is_required_and_has_no_default() {
        let error = TagSettings::from_env(&env([])).unwrap_err().to_string();
        assert!(error.contains("TAG_MASTER_SECRET") && error.contains("64 hex digits"), "{error}");
        let other = env([("TAG_MASTER_SECRET_2", SECRET)]);
        assert!(TagSettings::from_env(&other).unwrap_err().to_string().contains("TAG_MASTER_SECRET_1"));
        let settings =
            TagSettings::from_env(&env([("TAG_MASTER_SECRET_2", SECRET), ("TAG_KEY_EPOCH", "2")])).unwrap();
        assert_eq!(settings.active_epoch.get(), 2);
        assert!(!settings.tag_keys.has(Epoch::new(1).unwrap()));
    }

    #[test]
    fn the_secret_of_an_epoch_is_preferred_to_the_common_secret() {
        let common = TagSettings::from_env(&env([("TAG_MASTER_SECRET", SECRET)])).unwrap();
        let other = "ff".repeat(32);
        let own =
            TagSettings::from_env(&env([("TAG_MASTER_SECRET", SECRET), ("TAG_MASTER_SECRET_7", &other)]))
                .unwrap();
        let epoch = |n| Epoch::new(n).unwrap();
        assert_eq!(common.tag_keys.check_value(epoch(1)), own.tag_keys.check_value(epoch(1)));
        assert_ne!(common.tag_keys.check_value(epoch(7)), own.tag_keys.check_value(epoch(7)));
    }

    #[test]
    fn a_wrong_secret_is_named_and_never_shown() {
        for wrong in ["", "abc", &SECRET[1..], &format!("{SECRET}00")] {
            let error = TagSettings::from_env(&env([("TAG_MASTER_SECRET", wrong)])).unwrap_err().to_string();
            assert!(error.starts_with("TAG_MASTER_SECRET is "), "{error}");
            assert!(wrong.is_empty() || !error.contains(wrong), "{error}");
        }
    }

    #[test]
    fn a_secret_whose_name_does_not_end_in_an_epoch_stops_the_start() {
        for name in
            ["TAG_MASTER_SECRET_0", "TAG_MASTER_SECRET_4096", "TAG_MASTER_SECRET_07", "TAG_MASTER_SECRET_X"]
        {
            let error =
                TagSettings::from_env(&env([("TAG_MASTER_SECRET", SECRET), (name, SECRET)])).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
