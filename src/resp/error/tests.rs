//! Texts of errors, byte for byte.

use super::*;

#[test]
fn every_fixed_text_is_one_line_that_opens_with_a_code() {
    for (name, error) in ErrorReply::ALL {
        let text = error.as_bytes();
        assert!(!text.contains(&b'\r') && !text.contains(&b'\n'), "{name}");
        assert!(
            error.code().iter().all(u8::is_ascii_uppercase),
            "{name} opens with {:?}",
            String::from_utf8_lossy(error.code())
        );
    }
}

#[test]
fn an_unknown_command_repeats_its_first_arguments() {
    let error = ErrorReply::unknown_command(b"nope", [&b"a"[..], b"b\r\nc"].into_iter());
    assert_eq!(
        error.as_bytes(),
        b"ERR unknown command 'nope', with args beginning with: 'a' 'b  c' "
    );
    let error = ErrorReply::unknown_command(b"no\0pe", [&b"\0a"[..], b"b"].into_iter());
    assert_eq!(
        error.as_bytes(),
        b"ERR unknown command 'no', with args beginning with: '' 'b' "
    );
}

#[test]
fn what_a_client_sent_is_shown_on_one_line_up_to_a_zero_byte() {
    for (option, shown) in [
        (&b"a\rb\r\n"[..], "a b"),
        (b"\n\n", ""),
        (b"a \n", "a "),
        (b"a\0b", "a"),
    ] {
        let error = ErrorReply::unsupported_option(option);
        let text = format!("ERR Unsupported option {shown}");
        assert_eq!(String::from_utf8_lossy(error.as_bytes()), text);
    }
}
