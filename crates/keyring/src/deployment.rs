//! Reads the deployment record, which some changes of the keyring amend.

use catalog::{Deployment, StoredDeployment};
use redis_pool::RedisPool;

use crate::error::KeyringError;

/// Reads the deployment record and checks that it belongs to `deployment`.
///
/// # Errors
/// [`KeyringError::Lost`] if the record is missing or belongs to another deployment.
pub(crate) async fn stored_deployment(
    pool: &RedisPool,
    deployment: &Deployment,
) -> Result<StoredDeployment, KeyringError> {
    let stored = StoredDeployment::read(pool).await?;
    let gone = || KeyringError::Lost("the deployment record is missing or of another deployment".to_owned());
    stored.filter(|stored| stored.id() == deployment.id()).ok_or_else(gone)
}
