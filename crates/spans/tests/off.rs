//! A process of its own, since whether a target is enabled is remembered by process.

#[test]
fn without_an_exporter_nothing_is_on() {
    assert!(!spans::is_on() && !spans::is_sampled());
    assert_eq!(spans::current_ids(), None);
}
