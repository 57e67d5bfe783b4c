// The npm alias of Express 4, which brings no types of its own: near enough to those of Express 5 for the specs.
declare module 'express4' {
  export { default } from 'express';
}
