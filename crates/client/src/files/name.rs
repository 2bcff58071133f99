//! File names from strangers, made safe.

/// The longest name that most file systems take, in bytes.
const MAX_NAME_BYTES: usize = 255;
/// Room for what [`numbered`] adds.
const NUMBER_ROOM_BYTES: usize = 16;
/// The longest part after a last dot that is kept when a name is shortened.
const MAX_EXTENSION_BYTES: usize = 32;
/// The name of what has none.
const NAMELESS: &str = "file";

/// Makes a safe base name of what a sender calls a file.
///
/// The result is one path component of 1–239 bytes: no separators, no control or direction-changing
/// characters, no leading dot, no white space or dot at the end.
pub(crate) fn safe_name(name: &str) -> String {
    let base = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let clean: String = base.chars().filter(|c| !is_treacherous(*c)).collect();
    let trimmed = clean
        .trim_start_matches(|c: char| c == '.' || c.is_whitespace())
        .trim_end_matches(|c: char| c == '.' || c.is_whitespace());
    let short = shorten(trimmed, MAX_NAME_BYTES - NUMBER_ROOM_BYTES);
    if short.is_empty() {
        NAMELESS.to_owned()
    } else {
        short
    }
}

/// The name for the `number`th file of that name: `name.ext`, `name (1).ext`, …
pub(super) fn numbered(name: &str, number: u32) -> String {
    if number == 0 {
        return name.to_owned();
    }
    let (stem, extension) = split(name);
    format!("{stem} ({number}){extension}")
}

/// Characters that end lines, move the cursor or turn the direction of writing, so that a name shows as
/// another than it is; `:` and its like are special to some systems.
fn is_treacherous(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | ':' | '*' | '?' | '"' | '<' | '>' | '|')
}

/// Cuts the stem so that the whole has at most `limit` bytes.
fn shorten(name: &str, limit: usize) -> String {
    if name.len() <= limit {
        return name.to_owned();
    }
    let (stem, extension) = split(name);
    let mut end = limit.saturating_sub(extension.len());
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    let stem = stem.get(..end).unwrap_or_default().trim_end();
    format!("{stem}{extension}")
}

/// Stem and extension with its dot; a long "extension" is part of the stem.
fn split(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(dot) if dot > 0 && name.len() - dot <= MAX_EXTENSION_BYTES => name.split_at(dot),
        _ => (name, ""),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn name_with_a_path_keeps_its_last_part_only() {
        for (given, safe) in [
            ("photo.jpg", "photo.jpg"),
            ("/etc/passwd", "passwd"),
            ("../../x.txt", "x.txt"),
            ("..\\..\\evil.exe", "evil.exe"),
            (".bashrc", "bashrc"),
            ("...", "file"),
            ("", "file"),
            ("a/", "file"),
            ("a\0b\n.txt", "ab.txt"),
            ("gpj.\u{202e}exe", "gpj.exe"),
            (" spaced .txt. ", "spaced .txt"),
            ("C:name", "Cname"),
            ("über.txt", "über.txt"),
        ] {
            assert_eq!(safe_name(given), safe, "{given:?}");
        }
    }

    #[test]
    fn long_name_is_shortened_and_keeps_its_extension() {
        let long = format!("{}.tar", "ä".repeat(300));
        let safe = safe_name(&long);
        assert!(safe.len() <= 239 && safe.ends_with(".tar"), "{safe}");
        assert!(numbered(&safe, 9_999).len() <= MAX_NAME_BYTES);
        assert_eq!(numbered("a.txt", 2), "a (2).txt");
        assert_eq!(numbered("a", 1), "a (1)");
    }

    proptest! {
        #[test]
        fn any_name_becomes_one_plain_component(name in "\\PC{0,400}|[./\\\\ \u{0}-\u{20}]{0,40}") {
            let safe = safe_name(&name);
            prop_assert!((1..=239).contains(&safe.len()));
            prop_assert!(!safe.starts_with('.') && !safe.contains(['/', '\\', '\0']));
            prop_assert_eq!(std::path::Path::new(&safe).components().count(), 1);
            prop_assert_eq!(safe_name(&safe), safe);
        }
    }
}
