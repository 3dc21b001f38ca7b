//! What is read from certificates, with `openssl` as the second opinion wherever it can read them too.

mod facts;
mod names;
mod odd;
mod signature;
mod total;
mod trust;

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

/// What `openssl` with `arguments` writes when it reads `input`.
fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The answer of `openssl x509` to one question, without the word before the equals sign.
fn openssl_says(question: &str, der: &[u8]) -> String {
    let mut arguments = vec!["x509", "-inform", "DER", "-noout"];
    arguments.extend(question.split(' '));
    let answer = String::from_utf8(openssl(&arguments, der)).unwrap();
    let answer = answer.strip_suffix('\n').unwrap_or(&answer);
    answer.split_once('=').unwrap().1.to_owned()
}
