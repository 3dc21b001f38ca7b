//! What differs from run to run in the report for a person, made the same: times, ports, fingerprints, dates.

/// The text with a mask for each of them; where the lines are broken stays as it was.
pub(crate) fn masked(text: &str) -> String {
    text.lines().map(|line| masked_line(line) + "\n").collect()
}

fn masked_line(line: &str) -> String {
    // A row of a stage: its time ends in column 25, and a bar may follow.
    if line.get(15..25).is_some_and(|time| time.ends_with(" ms")) {
        let (name, rest) = (line.get(..15).unwrap(), line.get(25..).unwrap());
        let after_bar = rest.strip_prefix("  |").and_then(|bar| bar.split_once('|'));
        let rest = after_bar.map_or_else(|| rest.to_owned(), |(_, told)| format!("  |..........|{told}"));
        return masked_words(&format!("{name}    TIME ms{rest}"));
    }
    if let Some(skew) = line.strip_prefix("  clock        ").and_then(|clock| clock.strip_suffix(" s from ours")) {
        // A loaded machine answers late.
        let tens: f64 = (skew.parse::<f64>().unwrap() / 10.0).round() * 10.0;
        return format!("  clock        about {} s from ours", tens as i64);
    }
    if line.starts_with("  network      round trip ") {
        return "  network      round trip TIME ms, N retransmits".to_owned();
    }
    masked_words(line)
}

fn masked_words(line: &str) -> String {
    let mut was_after = false;
    let words = line.split(' ').map(|word| {
        let masked = if was_after && word.ends_with(':') { "TIME:".to_owned() } else { masked_word(word) };
        was_after = word == "after";
        masked
    });
    words.collect::<Vec<_>>().join(" ")
}

fn masked_word(word: &str) -> String {
    let is_date = word.len() >= 20 && word.as_bytes().get(10) == Some(&b'T') && word.starts_with("20");
    let is_fingerprint = word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    match word.split_once("127.0.0.1:") {
        _ if is_fingerprint => "FINGERPRINT".to_owned(),
        _ if is_date => format!("DATE{}", word.trim_start_matches(|c: char| c != 'Z')).replace("DATEZ", "DATE"),
        Some((before, after)) => {
            format!("{before}127.0.0.1:PORT{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
        }
        None => word.to_owned(),
    }
}
