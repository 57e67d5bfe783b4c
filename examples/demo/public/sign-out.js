// The visitor has pressed "Sign out" a moment ago: do not ask again. Without scripts, the button is there.
document.getElementById('confirm').click();
