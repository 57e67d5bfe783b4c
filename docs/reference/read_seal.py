"""Reads a compact seal: python3 read_seal.py PASSWORD BINDING SEAL. Needs the package cryptography."""
import base64, hashlib, json, pathlib, sys, zlib
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

def letters(data): return base64.urlsafe_b64encode(data).decode().rstrip('=')

def read_seal(password, binding, seal):
    dictionary = (pathlib.Path(__file__).parent / 'seal-dictionary-1.txt').read_bytes()
    box = base64.urlsafe_b64decode(seal[3:] + '=' * (-len(seal[3:]) % 4))
    root = HKDF(SHA256(), 32, None, b'express-sealed-session compact 1').derive(password.encode())
    key = hashlib.sha256(b'\0\0\0\1' + root + box[:12]).digest()
    data, at = AESGCM(key).decrypt(box[12:24], box[24:], (seal[:3] + binding).encode()), 4
    def take(count): nonlocal at; at += count; return data[at - count:at]
    def number():
        byte = take(1)[0]
        return byte if byte < 128 else byte - 128 + 128 * number()
    def piece():
        length, packed = divmod(number(), 2)
        whole = length // 4 * packed
        return letters(take(whole * 3)) + take(length - whole * 4).decode()
    def token(): return '.'.join(piece() for _ in range(number()))
    flags = take(1)[0]
    header, claims = (number(), number()) if flags & 1 else (0, 0)
    text = take(number())
    if flags & 16: text = zlib.decompressobj(-15, zdict=dictionary).decompress(text, 131072)
    value = json.loads(text[header + claims:] or b'{}')
    if flags & 1: value['accessToken'] = '.'.join([letters(text[:header]), letters(text[header:header + claims]), token()])
    if flags & 2: value['accessToken'] = token()
    if flags & 4: value['refreshToken'] = token()
    if flags & 8: value['boundTo'] = binding
    return {**value, **json.loads(data[at:] or b'{}')}

if __name__ == '__main__': print(json.dumps(read_seal(*sys.argv[1:4])))
