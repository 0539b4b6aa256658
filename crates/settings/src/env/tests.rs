//! Tests of reading variables and files, of the errors, and of the record of settings.

use super::*;
use crate::{choice, millis, non_zero_u32, text};
use std::num::NonZeroU32;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

fn env(pairs: &[(&str, &str)]) -> Env {
    pairs.iter().copied().collect()
}

fn file(name: &str, contents: &[u8]) -> PathBuf {
    let path = std::env::temp_dir().join(format!("settings-env-{}-{name}", std::process::id()));
    std::fs::write(&path, contents).unwrap();
    path
}

fn hex_key() -> Kind<String> {
    Kind::new("64 hex digits", |text| {
        if text.len() == 64 { Ok(text.to_owned()) } else { Err(format!("{text} is too short")) }
    })
}

#[test]
fn an_unset_variable_gives_the_default_and_an_empty_one_an_error() {
    let kind = millis(1..=60_000);
    let default = Duration::from_millis(100);
    assert_eq!(env(&[]).get("WAIT_MS", default, &kind).unwrap(), default);
    assert_eq!(env(&[("WAIT_MS", "7")]).get("WAIT_MS", default, &kind).unwrap(), Duration::from_millis(7));
    let error = env(&[("WAIT_MS", "")]).get("WAIT_MS", default, &kind).unwrap_err();
    assert_eq!(error.to_string(), r#"WAIT_MS is ""; it takes milliseconds, a whole number from 1 to 60000"#);
}

#[test]
fn an_error_is_one_line_for_any_value() {
    let odd = format!("a\nb\u{1b}[31m{}", "x".repeat(500));
    let error = env(&[("N", &odd)]).get("N", NonZeroU32::MIN, &non_zero_u32(9)).unwrap_err().to_string();
    assert!(error.starts_with(r#"N is "a\nb\u{1b}[31mxxx"#), "{error}");
    assert!(error.ends_with("…; it takes a whole number from 1 to 9"), "{error}");
    assert!(!error.contains(['\n', '\u{1b}']) && error.len() < 200, "{error}");
}

#[test]
fn a_reason_that_quotes_the_value_stays_on_one_line() {
    let odd = format!("a\nb{}", "x".repeat(500));
    let quoting: Kind<String> = Kind::new("nothing", |text| Err(format!("{text} is wrong")));
    let error = env(&[("N", &odd)]).required("N", &quoting).unwrap_err().to_string();
    assert!(!error.contains('\n') && error.len() < 400, "{error}");
}

#[test]
fn a_variable_that_is_not_utf8_is_named() {
    let env: Env = [("REGION", OsString::from_vec(vec![0xff]))].into_iter().collect();
    let error = env.required("REGION", &text(1..=64)).unwrap_err();
    assert!(error.to_string().starts_with("REGION holds bytes that are not UTF-8; it takes"), "{error}");
}

#[test]
fn the_error_of_a_missing_setting_says_what_it_takes() {
    let error = env(&[]).required_secret("TAG_MASTER_SECRET", &hex_key()).unwrap_err();
    let expected = "TAG_MASTER_SECRET (or TAG_MASTER_SECRET_FILE) is not set; it takes 64 hex digits";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_secret_comes_from_the_variable_or_the_file_but_not_both() {
    let key = "ab".repeat(32);
    for (ending, accepted) in [("", true), ("\n", true), ("\r\n", true), ("\n\n", false), (" ", false)] {
        let path = file(
            &format!("ending-{}", ending.len() + usize::from(ending == " ") * 9),
            format!("{key}{ending}").as_bytes(),
        );
        let from_file = env(&[("KEY_FILE", path.to_str().unwrap())]);
        assert_eq!(from_file.secret("KEY", &hex_key()).is_ok(), accepted, "{ending:?}");
        let both = env(&[("KEY", &key), ("KEY_FILE", path.to_str().unwrap())]);
        assert!(matches!(both.secret("KEY", &hex_key()), Err(EnvError::Both { .. })));
        std::fs::remove_file(path).unwrap();
    }
    assert_eq!(env(&[("KEY", &key)]).secret("KEY", &hex_key()).unwrap(), Some(key));
    assert_eq!(env(&[]).secret("KEY", &hex_key()).unwrap(), None);
}

#[test]
fn a_wrong_secret_is_never_shown() {
    let path = file("wrong", b"hunter2");
    for pairs in [[("KEY", "hunter2")], [("KEY_FILE", path.to_str().unwrap())]] {
        let error = env(&pairs).secret("KEY", &hex_key()).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        assert!(error.to_string().contains("it takes 64 hex digits"));
    }
    std::fs::remove_file(path).unwrap();
    assert_eq!(format!("{:?}", env(&[("KEY", "hunter2")])), r#"{"KEY"}"#);
}

#[test]
fn the_error_names_a_secret_file_that_is_absent_binary_or_too_large() {
    let binary = file("binary", b"\xff\xfe");
    let huge = file("huge", &vec![b'a'; 64 * 1024 + 1]);
    for path in ["/nonexistent/key", binary.to_str().unwrap(), huge.to_str().unwrap()] {
        let error = env(&[("KEY_FILE", path)]).secret("KEY", &text(1..=100_000)).unwrap_err();
        assert!(error.to_string().starts_with(&format!("KEY_FILE is {path:?}, and this file")), "{error}");
        assert!(!error.to_string().contains('\n'));
    }
    std::fs::remove_file(binary).unwrap();
    std::fs::remove_file(huge).unwrap();
}

#[test]
fn the_record_shows_every_setting_that_was_read_and_no_secret() {
    let path = file("record", b"hunter2\n");
    let env = env(&[
        ("WAIT_MS", "7"),
        ("KEY_FILE", path.to_str().unwrap()),
        ("OTHER_KEY", "hunter2"),
        ("NOT_OURS", "x"),
    ]);
    env.get("WAIT_MS", Duration::ZERO, &millis(0..=9)).unwrap();
    env.get("PAUSE_MS", Duration::from_secs(2), &millis(0..=9_000)).unwrap();
    env.get("MODE", 2, &choice(&[("one", 1), ("two", 2)])).unwrap();
    env.optional("AREA", &text(1..=9)).unwrap();
    env.secret("KEY", &text(1..=9)).unwrap();
    env.secret("OTHER_KEY", &text(1..=9)).unwrap();
    env.secret("THIRD_KEY", &text(1..=9)).unwrap();
    let expected = "AREA=(not set)\nKEY=(secret, from KEY_FILE)\nMODE=two (default)\nOTHER_KEY=(secret)\n\
        PAUSE_MS=2000 (default)\nTHIRD_KEY=(not set)\nWAIT_MS=7\n";
    assert_eq!(env.effective().to_string(), expected);
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_partly_secret_setting_may_come_from_a_file_and_its_kind_selects_what_is_shown() {
    let kind = || {
        Kind::new("an address", |text| {
            if text.contains("bad") { Err("it is bad".to_owned()) } else { Ok(text.len()) }
        })
        .shown_as(|length| format!("an address of {length}"))
        .redacted_by(|_| "***".to_owned())
    };
    let path = file("partly", b"user:hunter2@host\n");
    let from_file = env(&[("URL_FILE", path.to_str().unwrap())]);
    assert_eq!(from_file.partly_secret("URL", &kind()).unwrap(), Some(17));
    assert_eq!(from_file.effective().to_string(), "URL=an address of 17 (from URL_FILE)\n");
    let both = env(&[("URL_FILE", path.to_str().unwrap()), ("URL", "x")]);
    assert!(matches!(both.partly_secret("URL", &kind()), Err(EnvError::Both { .. })));
    std::fs::write(&path, "bad hunter2").unwrap();
    let error = from_file.partly_secret("URL", &kind()).unwrap_err().to_string();
    assert_eq!(error, "URL_FILE is *** (it is bad); it takes an address");
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_misspelt_name_is_found_with_the_setting_it_resembles() {
    let suggestions = |name: &str| {
        let env = env(&[(name, "/dev/null"), ("PATH", "/bin"), ("REDIS_PORT", "tcp://10.0.0.1:6379")]);
        for known in
            ["REDIS_URL", "REDIS_POOL_SIZE", "RATE_LIMIT_IP_PER_MINUTE", "REGION", "BIND_ADDR", "RUST_LOG"]
        {
            env.optional(known, &text(0..=99)).unwrap();
        }
        env.secret("TAG_SECRET", &text(0..=99)).unwrap();
        drop(env.numbers_after("TAG_SECRET", "epoch"));
        env.misspelt().into_iter().map(|found| found.meant).collect::<Vec<_>>()
    };
    for (name, meant) in [
        ("REDIS_POOL_SZIE", "REDIS_POOL_SIZE"),
        ("REDIS_POOLSIZE", "REDIS_POOL_SIZE"),
        ("redis_pool_size", "REDIS_POOL_SIZE"),
        ("RATE_LIMIT_PER_MINUTE", "RATE_LIMIT_IP_PER_MINUTE"),
        ("REDSI_URL", "REDIS_URL"),
        ("BIND_ADDRESS", "BIND_ADDR"),
        ("TAG_SECERT", "TAG_SECRET"),
        ("TAG_SECRET_FIEL", "TAG_SECRET_FILE"),
        ("TAG_SECERT_12", "TAG_SECRET_12"),
        ("TAG_SECERT_12_FILE", "TAG_SECRET_12_FILE"),
    ] {
        assert_eq!(suggestions(name), [meant], "{name}");
    }
    for right in [
        "REDIS_URL",
        "TAG_SECRET_FILE",
        "RUST_BACKTRACE",
        "HOME",
        "AWS_REGION",
        "REDIS_SERVICE_HOST",
        "LEGION",
    ] {
        assert!(suggestions(right).is_empty(), "{right}: {:?}", suggestions(right));
    }
}

#[test]
fn each_number_at_the_end_of_a_name_is_found_once() {
    let env = env(&[
        ("TAG_MASTER_SECRET", "a"),
        ("TAG_MASTER_SECRET_FILE", "a"),
        ("TAG_MASTER_SECRET_2", "b"),
        ("TAG_MASTER_SECRET_2_FILE", "b"),
        ("TAG_MASTER_SECRET_3_FILE", "c"),
        ("TAG_MASTER_SECRETS", "d"),
    ]);
    let found = env.numbers_after("TAG_MASTER_SECRET", "epoch").unwrap();
    assert_eq!(found.into_iter().map(KeyNumber::get).collect::<Vec<_>>(), [2, 3]);
}
