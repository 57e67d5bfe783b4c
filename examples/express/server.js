import { app } from './app.js';

app.listen(3000, () => console.log('http://localhost:3000'));
