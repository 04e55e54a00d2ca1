"""Request a client for a key that is made on the device: `fedssl join --request`.

The private key never leaves the device. The device makes ``client.key`` and a request, a PKCS#10
certificate signing request: the public key, and a signature that proves that its sender has the
private key. `fedssl certs --sign` answers it by
``client.pub`` and ``ca.crt``.
"""

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from clients.keys import CURVE, MOST, UNREADABLE, ClientKeys, PublicKey, fingerprint, write
from fedssl.base.config_file import ConfigError
from fedssl.base.files import name_write_errors
from fedssl.base.plain_files import read_text

_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fedssl client")])
_FIX = "make it by fedssl join --request on the device"


def make_request(folder: Path) -> list[str]:
    """Make a client's private key, and the request to send to the server.

    An existing key is kept, and only the request is made again.

    Parameters
    ----------
    folder : Path
        The folder of the keys; it is created if needed, accessible only to its owner.

    Returns
    -------
    list[str]
        Lines that say what was written, and what to do with it.

    Raises
    ------
    ConfigError
        The request was answered already, or the existing key is damaged.
    """
    keys = ClientKeys(folder)
    if keys.public.exists():
        raise ConfigError(
            f"{keys.public}: is there already, so the request was answered; take part by fedssl "
            f"join --pki {folder}, or ask for a new key in another folder"
        )
    with name_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    written = []
    if keys.private.exists():
        keys.check_private()
        key = keys.private_key()
    else:
        key = ec.generate_private_key(CURVE)
        keys.write_private(key)
        written.append(f"wrote {keys.private}: secret, leave it here")
    request = x509.CertificateSigningRequestBuilder().subject_name(_NAME).sign(key, hashes.SHA384())
    write(keys.request, request.public_bytes(serialization.Encoding.PEM))
    return [
        *written,
        f"wrote {keys.request}: not secret; send it to whoever runs the server",
        f"fingerprint of this key: {fingerprint(key.public_key())}",
        "tell the fingerprint another way, such as by phone; the server shows it when it answers "
        f"by: fedssl certs --sign {keys.request.name}",
        f"put the ca.crt and client.pub that come back into {folder}, then join by --pki {folder}",
    ]


def read_request(path: Path) -> PublicKey:
    """Return the public key of a request, after checking that its sender has the private key.

    Raises
    ------
    ConfigError
        The file cannot be read, is no request, its key is not on the clients' curve, or its
        signature is invalid.
    """
    text = read_text(path, MOST)
    try:
        request = x509.load_pem_x509_csr(text.encode())
        key = request.public_key()
    except UNREADABLE:
        raise ConfigError(f"{path}: is no request for a key (PKCS#10 in PEM); {_FIX}") from None
    if not isinstance(key, PublicKey) or key.curve.name != CURVE.name:
        kind = key.curve.name if isinstance(key, PublicKey) else type(key).__name__
        kind = kind.removeprefix("_").removesuffix("PublicKey")
        raise ConfigError(f"{path}: its key is {kind}, where {CURVE.name} is due; {_FIX}")
    try:
        is_valid = request.is_signature_valid
    except UNREADABLE:
        is_valid = False
    if not is_valid:
        raise ConfigError(
            f"{path}: its signature is not good, so it does not prove that its sender has the "
            f"private key; {_FIX}"
        )
    return key
