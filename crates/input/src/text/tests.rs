use super::*;
use proptest::prelude::*;
use proptest::{collection, sample};
use regex::Regex;

type Label = Line<200>;
type Reason = Line<500>;

fn label(text: impl Into<String>) -> Result<Label, FieldError> {
    Label::parse("name", text.into())
}

fn reason(text: impl Into<String>) -> Result<Reason, FieldError> {
    Reason::parse("reason", text.into())
}

#[test]
fn lines_are_counted_in_characters() {
    assert!(label("é".repeat(200)).is_ok());
    assert!(label("é".repeat(201)).is_err());
    assert!(reason("x".repeat(500)).is_ok());
    assert!(reason("x".repeat(501)).is_err());
    assert!(label(" a ".to_owned()).is_ok());
}

#[test]
fn what_shows_nothing_is_refused() {
    for wrong in [
        "",
        " ",
        "\u{a0}",
        "\u{3000}",
        "\u{200b}",
        "\u{200d}",
        "\u{2060}",
        "\u{feff}",
        "\u{ad}",
        "\u{34f}",
        "\u{115f}",
        "\u{1160}",
        "\u{3164}",
        "\u{ffa0}",
        "\u{2800}",
        "\u{1d159}",
        "\u{13441}",
        "\u{180e}",
        "\u{301}",
        "\u{20dd}",
        "\u{903}",
        "\u{fe0f}",
        "\u{e0041}",
        "\u{17b4}",
        "\u{e0100}",
        "\u{2800}\u{2800} \u{200b}",
    ] {
        let error = label(wrong.to_owned()).unwrap_err();
        assert!(matches!(error, FieldError::Malformed { .. }), "{wrong:?}");
    }
}

#[test]
fn controls_of_lines_and_direction_are_refused_wherever_they_stand() {
    for control in [
        '\n', '\r', '\0', '\t', '\u{b}', '\u{c}', '\u{7f}', '\u{85}', '\u{2028}', '\u{2029}', '\u{61c}',
        '\u{200e}', '\u{200f}', '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}', '\u{2066}',
        '\u{2067}', '\u{2068}', '\u{2069}',
    ] {
        let error = label(format!("Acme{control} jacket")).unwrap_err().to_string();
        let code = format!("U+{:04X}", u32::from(control));
        assert!(error.contains(&code) && !error.contains(control), "{error}");
    }
}

#[test]
fn names_of_all_scripts_are_taken() {
    for good in [
        "Acme",
        "é",
        "e\u{301}",
        "नमस्ते",
        "शक्\u{200d}ति",
        "می\u{200c}خواهم",
        "עברית",
        "العربية",
        "日本語",
        "한국어",
        "ไทย",
        "👨\u{200d}👩\u{200d}👧",
        "✌\u{fe0f}",
        "100 % & <b>",
        "𝒜𝒸𝓂𝑒",
        "\u{ac}",
    ] {
        assert!(label(good.to_owned()).is_ok(), "{good}");
    }
}

#[test]
fn the_error_says_what_it_held_what_it_takes_and_an_example_in_a_bounded_text() {
    let error = label("x\u{202e}".repeat(90)).unwrap_err().to_string();
    assert!(error.starts_with("name is \"x\\u{202e}") && error.ends_with("e.g. \"Rain jacket\""), "{error}");
    let error = reason("x".repeat(9_000)).unwrap_err().to_string();
    assert!(error.starts_with("reason has 9000 characters; it takes 1 to 500 characters"), "{error}");
    assert!(error.len() < 400, "{}", error.len());
}

#[test]
fn texts_of_several_lines_are_bounded_and_steer_nothing() {
    let lines = |text: &str| Lines::<20>::parse("details", text);
    let read = |text: &str| lines(text).unwrap().map(Lines::into_string);
    assert_eq!(read("Le flacon\r\nest\t«vide»"), Some("Le flacon\nest\t«vide»".to_owned()));
    assert_eq!(read(&"\r\n".repeat(20)), None, "a line's end is one character");
    for nothing in ["", " \n\t ", "\u{200b}\n\u{2800}"] {
        assert_eq!(read(nothing), None, "{nothing:?}");
    }
    for control in ['\r', '\0', '\u{b}', '\u{1b}', '\u{85}', '\u{2028}', '\u{2029}', '\u{202e}', '\u{2066}'] {
        let error = lines(&format!("a{control}b")).unwrap_err().to_string();
        assert!(error.contains(&format!("U+{:04X}", u32::from(control))), "{error}");
        assert!(
            error.starts_with("details is ") && error.ends_with("e.g. \"The seal is broken.\""),
            "{error}"
        );
    }
    let error = lines(&"é".repeat(21)).unwrap_err().to_string();
    assert!(error.starts_with("details has 21 characters; it takes up to 20 characters"), "{error}");
    assert_eq!(without_direction("\u{202a}+49 30 1\u{202c}\u{200f}\n"), "+49 30 1\n");
}

/// Characters near every edge of the patterns, and any others.
fn characters() -> impl Strategy<Value = char> {
    let near: Vec<char> = [
        0x00, 0x09, 0x0a, 0x0d, 0x1f, 0x7f, 0x9f, 0x61c, 0x200b, 0x200e, 0x200f, 0x2028, 0x202e, 0x2066,
        0x2069,
    ]
    .iter()
    .flat_map(|&code: &u32| code.saturating_sub(1)..=code + 1)
    .filter_map(char::from_u32)
    .collect();
    prop_oneof![sample::select(near), any::<char>()]
}

proptest! {
    #[test]
    fn the_patterns_say_what_the_code_takes(text in collection::vec(characters(), 0..6)) {
        let text: String = text.into_iter().collect();
        let matches = |pattern: &str| Regex::new(pattern).unwrap().is_match(&text);
        let line = Line::<10>::parse("name", text.clone()).is_ok();
        prop_assert_eq!(line, matches(LINE_PATTERN) && !shows_nothing(&text));
        prop_assert_eq!(Lines::<10>::parse("details", &text).is_ok(), matches(LINES_PATTERN));
    }
}
