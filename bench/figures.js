// What is made of many measurements of one thing.
export function quantile(values, share) {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.min(Math.floor(sorted.length * share), sorted.length - 1)];
}

export const median = (values) => quantile(values, 0.5);
export const MiB = (bytes) => bytes / 1024 ** 2;
