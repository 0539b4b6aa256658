//! A Redis user that may do no more than the operations manual says a service needs.

use redis::aio::MultiplexedConnection;

use crate::RedisServer;

const MANUAL: &str = include_str!("../../../docs/operations/deploy.md");

impl RedisServer {
    /// Makes the user by the manual's own line, and gives an address under which that user connects.
    ///
    /// # Panics
    ///
    /// When the manual has no such line, or Redis does not take it.
    pub async fn with_documented_rights(&self) -> String {
        let (_, rule) = MANUAL.split_once("`ACL SETUSER voketag ").expect("the manual names the rights");
        let (rule, _) = rule.split_once('`').expect("the line ends");
        let rule = rule.replace(">PASSWORD", ">of-a-test");
        let mut acl = redis::cmd("ACL");
        acl.arg("SETUSER").arg("voketag").arg(rule.split(' ').collect::<Vec<_>>());
        let () = acl.query_async(&mut self.connection().await).await.expect("redis takes the rights");
        format!("redis://voketag:of-a-test@{}", self.addr())
    }

    /// What Redis refused its users for want of rights, as it says it.
    ///
    /// # Panics
    ///
    /// When Redis does not answer.
    pub async fn refused_for_want_of_rights(&self) -> Vec<redis::Value> {
        let mut link: MultiplexedConnection = self.connection().await;
        redis::cmd("ACL").arg("LOG").query_async(&mut link).await.expect("redis has a log of that")
    }
}
