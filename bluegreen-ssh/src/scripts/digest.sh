# Prints the SHA-256 of standard input in hexadecimal. OpenSSL is three times as fast as sha256sum.
digest() {
    if command -v openssl > /dev/null; then
        sum=$(openssl dgst -sha256 -r)
    else
        sum=$(sha256sum)
    fi && printf '%s\n' "${sum%% *}"
}
