//! The settings of this service in `docker-compose.yml`.

use http_edge::ServeConfig;
use test_support::ComposeService;

use crate::process::run;
use crate::shop::SECRET;

const SERVICE: &str = "scan-service";

#[test]
fn compose_passes_the_secrets_of_further_epochs_and_their_files() {
    let service = ComposeService::read(SERVICE);
    service.assert_passes_numbered("TAG_MASTER_SECRET");
    for name in ["RATE_LIMIT_REDIS_URL", "GLOBAL_REDIS_URL"] {
        service.assert_passes(name);
        service.assert_passes(&format!("{name}_FILE"));
    }
}

#[test]
fn compose_sets_no_unknown_setting() {
    let output = run(&["serve", "--check-config"], &[("TAG_MASTER_SECRET", SECRET)]);
    assert!(output.status.success(), "{output:?}");
    let shown = String::from_utf8(output.stdout).unwrap();
    ComposeService::read(SERVICE).assert_names_only(&shown);
}

#[test]
fn the_stop_timeout_of_compose_covers_the_drain_and_the_shutdown_hook() {
    let needed = ServeConfig::default().drain + http_edge::SHUTDOWN_HOOK_TIMEOUT;
    ComposeService::read(SERVICE).assert_outlasts(needed);
}
