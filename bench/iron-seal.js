// Iron seals, the bytes that iron-session writes, in a twentieth of its time: for a bench that needs a million of them.
import { createCipheriv, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';

export function ironSeal(value, password) {
  const [encryptionSalt, macSalt] = [randomBytes(32).toString('hex'), randomBytes(32).toString('hex')];
  const derive = (salt) => pbkdf2Sync(password, salt, 1, 32, 'sha1');
  const iv = randomBytes(16);
  const cipher = createCipheriv('aes-256-cbc', derive(encryptionSalt), iv);
  const ciphertext = Buffer.concat([cipher.update(JSON.stringify(value)), cipher.final()]).toString('base64url');
  const covered = `Fe26.2*1*${encryptionSalt}*${iv.toString('base64url')}*${ciphertext}*`;
  const mac = createHmac('sha256', derive(macSalt)).update(covered).digest('base64url');
  return `${covered}*${macSalt}*${mac}~2`;
}
