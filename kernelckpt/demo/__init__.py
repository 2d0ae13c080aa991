"""The demonstration: agents survey a real source tree while their process is killed again and again."""
