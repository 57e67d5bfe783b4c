/** Lets work through while it is open. */
export function createGate() {
  let underWay = 0;
  let tellQuiet = () => undefined;
  let tellOpen = () => undefined;
  let whenOpen = Promise.resolve();
  let isClosed = false;

  return {
    async through(work) {
      while (isClosed) await whenOpen;
      underWay += 1;
      try {
        await work();
      } finally {
        underWay -= 1;
        if (underWay === 0) tellQuiet();
      }
    },
    opened: () => whenOpen,
    open: () => {
      isClosed = false;
      tellOpen();
    },
    /** Resolves when nothing is under way any more. */
    close: async () => {
      isClosed = true;
      whenOpen = new Promise((resolve) => {
        tellOpen = resolve;
      });
      if (underWay === 0) return;
      await new Promise((resolve) => {
        tellQuiet = resolve;
      });
    },
  };
}
