//! `proc-title-template`: what `ps` shows of the server.

use super::Config;

const BAD: &str = "template format is invalid or contains unknown variables";

/// Fills a template in: `{name}` is replaced by what `value` says, `{{` is a brace. Spaces at the ends go.
fn expand(
    template: &[u8],
    value: impl Fn(&[u8]) -> Option<Vec<u8>>,
) -> Result<Vec<u8>, &'static str> {
    let (mut out, mut rest) = (Vec::new(), template);
    while let Some(open) = rest.iter().position(|byte| *byte == b'{') {
        out.extend_from_slice(&rest[..open]);
        rest = &rest[open + 1..];
        if let Some(behind) = rest.strip_prefix(b"{") {
            out.push(b'{');
            rest = behind;
            continue;
        }
        let close = rest.iter().position(|byte| *byte == b'}').ok_or(BAD)?;
        out.extend(value(&rest[..close]).ok_or(BAD)?);
        rest = &rest[close + 1..];
    }
    out.extend_from_slice(rest);
    let from = out.iter().position(|byte| *byte != b' ');
    let to = out.iter().rposition(|byte| *byte != b' ');
    match (from, to) {
        (Some(from), Some(to)) => Ok(out[from..=to].to_vec()),
        _ => Ok(Vec::new()),
    }
}

/// A template names only variables that exist, and says something even where program and socket have no name.
pub(super) fn check(template: &[u8]) -> Result<(), &'static str> {
    let value = |name: &[u8]| match name {
        b"title" | b"unixsocket" => Some(Vec::new()),
        b"listen-addr" | b"server-mode" | b"port" | b"tls-port" | b"config-file" => {
            Some(b"x".to_vec())
        }
        _ => None,
    };
    match expand(template, value)?.is_empty() {
        true => Err(BAD),
        false => Ok(()),
    }
}

impl Config {
    /// The title of a program that was called `program` and given this file.
    pub fn title(&self, program: &[u8], file: Option<&[u8]>) -> Vec<u8> {
        let socket = || match &self.unixsocket {
            Some(path) => path.as_os_str().as_encoded_bytes().to_vec(),
            None => Vec::new(),
        };
        let value = |name: &[u8]| {
            Some(match name {
                b"title" => program.to_vec(),
                b"listen-addr" if self.port == 0 => [&b"unixsocket:"[..], &socket()].concat(),
                b"listen-addr" => {
                    let first = self.bind.first().map_or("*", |first| &first[..]);
                    format!("{first}:{}", self.port).into_bytes()
                }
                b"server-mode" if self.cluster_enabled => b"[cluster]".to_vec(),
                b"server-mode" => Vec::new(),
                b"port" => self.port.to_string().into_bytes(),
                b"tls-port" => b"0".to_vec(), // another one is refused: there is no TLS
                b"unixsocket" => socket(),
                b"config-file" => file.unwrap_or(b"-").to_vec(),
                _ => return None,
            })
        };
        // The template has been checked.
        expand(self.proc_title_template.as_bytes(), value).unwrap_or_else(|_| program.to_vec())
    }
}
